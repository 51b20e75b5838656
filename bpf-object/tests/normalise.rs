//! Objects whose section names aya does not know open in aya after `for_aya`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use bpf_object::{for_aya, inspect};
use common::{compile, compile_with};

const SPELLINGS: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct task_struct { int tgid; } __attribute__((preserve_access_index));
#define READER(name) int name(void *ctx) { struct task_struct *t = (void *)bpf_get_current_task(); return BPF_CORE_READ(t, tgid); }
SEC("tcx/ingress") READER(in)
SEC("tcx/egress") READER(out)
SEC("tc") READER(plain)
SEC("classifier") READER(already)
SEC("xdp/firewall") int labelled(void *ctx) { return 2; }
SEC("?tp/sched/sched_switch") READER(optional)
SEC("raw_tp/sys_enter") READER(untouched)
char LICENSE[] SEC("license") = "GPL";
"#;

#[test]
fn aya_opens_what_it_refused() {
    let object = compile(SPELLINGS);
    assert!(
        aya_obj::Object::parse(&object).is_err(),
        "if aya takes it as it is, this module can go"
    );
    let info = inspect(&object).unwrap();
    let renamed = for_aya(&object, &info).unwrap().expect("something to change");
    let opened = aya_obj::Object::parse(&renamed).expect("aya opens it");
    for program in &info.programs {
        assert!(
            opened.programs.contains_key(&program.name),
            "{} is lost",
            program.name
        );
    }
    assert_eq!(opened.programs.len(), info.programs.len());
}

#[test]
fn programs_and_their_relocations_stay_together() {
    let object = compile(SPELLINGS);
    let before = inspect(&object).unwrap();
    let after = inspect(&for_aya(&object, &before).unwrap().unwrap()).unwrap();
    assert_eq!(before.programs.len(), after.programs.len());
    let mut sections: Vec<_> = after.programs.iter().map(|p| p.section.clone()).collect();
    sections.sort();
    sections.dedup();
    assert_eq!(
        sections.len(),
        after.programs.len(),
        "section names stay distinct: {sections:?}"
    );
    for (old, new) in before.programs.iter().zip(&after.programs) {
        assert_eq!((&old.name, old.instructions), (&new.name, new.instructions));
        let count = |info: &bpf_object::ObjectInfo, name: &str| {
            (0..64).filter(|i| info.relocation_at(name, *i).is_some()).count()
        };
        assert_eq!(
            count(&before, &old.name),
            count(&after, &new.name),
            "relocations of {}",
            old.name
        );
    }
    assert_eq!(before.co_re.len(), after.co_re.len());
    assert!(
        for_aya(&object, &before).unwrap() == for_aya(&object, &before).unwrap(),
        "same input, same bytes"
    );
    let again = for_aya(&for_aya(&object, &before).unwrap().unwrap(), &after).unwrap();
    assert_eq!(again, None, "nothing is left to change");
}

#[test]
fn an_object_without_btf_is_renamed_too() {
    let source = r#"__attribute__((section("tcx/ingress"), used)) int pass(void *ctx) { return 0; }"#;
    let object = compile_with(source, &["-target", "bpf"]);
    let renamed = for_aya(&object, &inspect(&object).unwrap()).unwrap().unwrap();
    assert!(
        aya_obj::Object::parse(&renamed)
            .unwrap()
            .programs
            .contains_key("pass")
    );
}

#[test]
fn an_object_with_aya_names_is_left_alone() {
    let object =
        compile(r#"__attribute__((section("classifier/x"), used)) int pass(void *ctx) { return 0; }"#);
    assert_eq!(for_aya(&object, &inspect(&object).unwrap()), Ok(None));
}
