//! Values go from JSON and a kernel's configuration into the object that is loaded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use std::collections::BTreeMap;

use bpf_object::kconfig::{Facts, Kconfig};
use bpf_object::{ValuesError, globals_of, kconfig_of, known_kconfig_of, set_globals};
use common::{compile, compile_with};
use resolving::{Wish, loads};
use serde_json::{Value, json};

const SOURCE: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_OFF __kconfig __weak;
const volatile int min_us = 5;
const volatile char comm[8];
const volatile int apart SEC(".rodata.apart") = 9;
int counter = 1;
SEC("tp/a/b") int run(void *c) { return LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_OFF + min_us + comm[0] + apart + counter++; }
"#;

fn values(values: &[(&str, Value)]) -> BTreeMap<String, Value> {
    values.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
}

#[test]
fn values_reach_the_resolved_object() {
    let object = compile(SOURCE);
    let names: Vec<String> = globals_of(&object).unwrap().into_iter().map(|g| g.name).collect();
    assert!(
        ["min_us", "comm", "apart", "counter"]
            .iter()
            .all(|n| names.iter().any(|m| m == n)),
        "{names:?}"
    );
    let facts = Facts {
        kernel_version: 0x0006_0c05,
        ..Facts::default()
    };
    let mut wish = Wish::nowhere();
    wish.globals = set_globals(
        &object,
        &values(&[("min_us", json!(77)), ("comm", json!("sshd"))]),
    )
    .unwrap();
    assert_eq!(
        wish.globals.keys().collect::<Vec<_>>(),
        [".rodata"],
        "what changes, and nothing else"
    );
    wish.kconfig = Some(kconfig_of(&object, Some(&Kconfig::parse(b"CONFIG_HZ=250\n")), &facts).unwrap());
    let linked = wish.linked(&object);
    let data = |map: &str| linked.object.maps[map].data().to_vec();
    let found = data(".rodata");
    assert!(found.windows(4).any(|w| w == 77i32.to_ne_bytes()) && found.windows(5).any(|w| w == b"sshd\0"));
    assert_eq!(data(".rodata.apart"), 9i32.to_ne_bytes());
    let kconfig = data(".rodata.kconfig");
    assert!(kconfig.windows(4).any(|w| w == 0x0006_0c05u32.to_ne_bytes()));
    assert!(kconfig.windows(4).any(|w| w == 250u32.to_ne_bytes()));
    let fd = linked.fd(".rodata.kconfig");
    assert_eq!(loads(linked.code("run")).iter().filter(|l| l.1 == fd).count(), 3);
}

#[test]
fn an_option_that_is_not_set_refuses_only_the_programs_that_use_it() {
    let object = compile(
        r#"
        #include <linux/bpf.h>
        #include <bpf/bpf_helpers.h>
        extern int CONFIG_NONE __kconfig;
        extern int CONFIG_HZ __kconfig;
        SEC("xdp") int uses_hz(void *c) { return CONFIG_HZ; }
        SEC("xdp") int uses_none(void *c) { return CONFIG_NONE; }
        "#,
    );
    let config = Kconfig::parse(b"CONFIG_HZ=250\n");
    assert!(kconfig_of(&object, Some(&config), &Facts::default()).is_err());
    let mut wish = Wish::nowhere();
    wish.kconfig = Some(known_kconfig_of(&object, Some(&config), &Facts::default()).unwrap());
    assert!(wish.programs(&["uses_hz"]).resolve(&object).is_ok());
    let mut wish = Wish::nowhere().programs(&["uses_none"]);
    wish.kconfig = Some(known_kconfig_of(&object, Some(&config), &Facts::default()).unwrap());
    let refusal = wish.refusal(&object);
    assert!(
        refusal.contains("program uses_none needs CONFIG_NONE"),
        "{refusal}"
    );
    assert!(known_kconfig_of(&object, None, &Facts::default()).is_err());
}

#[test]
fn what_does_not_fit_is_said() {
    let object = compile(SOURCE);
    let error = set_globals(&object, &values(&[("min_ms", json!(1)), ("comm", json!(true))])).unwrap_err();
    let ValuesError::Globals(all) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(all.len(), 2, "{error}");
    let error = kconfig_of(&object, Some(&Kconfig::parse(b"")), &Facts::default()).unwrap_err();
    assert!(matches!(error, ValuesError::Kconfig(_)), "{error}");
    let bare = compile_with(
        r#"__attribute__((section("xdp"), used)) int p(void *c) { return 2; }"#,
        &["-target", "bpf"],
    );
    assert_eq!(globals_of(&bare), Ok(Vec::new()));
    assert_eq!(
        set_globals(&bare, &values(&[("x", json!(1))])),
        Err(ValuesError::NoBtf)
    );
    assert_eq!(set_globals(&bare, &BTreeMap::new()), Ok(BTreeMap::new()));
    assert!(
        kconfig_of(&bare, None, &Facts::default())
            .unwrap()
            .entries
            .is_empty()
    );
    assert!(matches!(globals_of(b"text"), Err(ValuesError::Object(_))));
}
