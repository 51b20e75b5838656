//! Maps of a resolved object: sizes, initialisers, data sections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use bpf_object::{InitialEntry, InitialValue, MapSize, inspect};
use common::compile;
use resolving::{Linked, Wish, loads};

const HEAD: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define NOINLINE __attribute__((noinline))
char LICENSE[] SEC("license") = "GPL";
"#;

fn with_head(source: &str) -> Vec<u8> {
    compile(&format!("{HEAD}{source}"))
}

const SIZES: &str = r#"
struct pair { __u32 a, b; };
struct shared_def {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 64);
    __type(key, struct pair);
    __type(value, __u64);
};
struct shared_def first SEC(".maps");
struct shared_def second SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_STACK_TRACE);
    __uint(key_size, 4);
} stacks SEC(".maps");
SEC("tp/a/b") int run(void *c) {
    __u32 k[2] = {0};
    bpf_get_stackid(c, &stacks, 0);
    return bpf_map_lookup_elem(&first, k) == bpf_map_lookup_elem(&second, k);
}
"#;

/// Key size, value size, most entries.
fn shape(linked: &Linked, map: &str) -> (u32, u32, u32) {
    let map = &linked.object.maps[map];
    (map.key_size(), map.value_size(), map.max_entries())
}

#[test]
fn sizes_change_the_map_that_is_meant_and_no_other() {
    let object = with_head(SIZES);
    let plain = Wish::nowhere().linked(&object);
    assert_eq!(shape(&plain, "first"), (8, 8, 64));
    let mut wish = Wish::nowhere();
    wish.map_sizes.insert(
        "second".into(),
        MapSize {
            max_entries: Some(4096),
            value_size: None,
        },
    );
    // A member that the definition lacks is added.
    wish.map_sizes.insert(
        "stacks".into(),
        MapSize {
            max_entries: Some(100),
            value_size: Some(127 * 8),
        },
    );
    let linked = wish.linked(&object);
    assert_eq!(
        shape(&linked, "first"),
        (8, 8, 64),
        "it shares its type with the other"
    );
    assert_eq!(shape(&linked, "second"), (8, 8, 4096));
    assert_eq!(shape(&linked, "stacks"), (4, 1016, 100));
    let types = |map: &str| match &linked.object.maps[map] {
        aya_obj::Map::Btf(m) => (m.def.btf_key_type_id, m.def.btf_value_type_id),
        aya_obj::Map::Legacy(_) => panic!("{map} is defined by BTF"),
    };
    assert_eq!(
        types("first"),
        types("second"),
        "types stay where their size does"
    );

    wish.map_sizes.insert(
        "first".into(),
        MapSize {
            max_entries: None,
            value_size: Some(16),
        },
    );
    let linked = wish.linked(&object);
    assert_eq!(shape(&linked, "first"), (8, 16, 64));
    let info = inspect(&linked.resolved.elf).unwrap();
    assert_eq!(
        info.map("first").unwrap().value_type,
        None,
        "its type is of another size"
    );
}

#[test]
fn sizes_that_are_none_are_refused() {
    let object = with_head(&format!("int counter = 1; {SIZES}"));
    let with = |map: &str, max_entries| {
        let mut wish = Wish::nowhere();
        let size = MapSize {
            max_entries: Some(max_entries),
            value_size: None,
        };
        wish.map_sizes.insert(map.into(), size);
        wish.refusal(&object)
    };
    assert!(with("first", 0).contains("size of map \"first\": 0 entries are none"));
    assert!(with(".data", 2).contains("it is a section of variables"));
}

const INITIAL: &str = r#"
int tail_one(void *);
int tail_two(void *);
struct inner_def {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} inner_a SEC(".maps"), inner_b SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 4);
    __uint(key_size, 4);
    __array(values, int(void *));
} jumps SEC(".maps") = { .values = { [0] = (void *)&tail_one, [3] = (void *)&tail_two } };
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 8);
    __uint(key_size, 4);
    __array(values, struct inner_def);
} outer SEC(".maps") = { .values = { [1] = &inner_b, [2] = &inner_a } };
SEC("tc") int tail_one(void *c) { return 1; }
SEC("tc") int tail_two(void *c) { return 2; }
SEC("tc") int entry(void *c) { bpf_tail_call(c, &jumps, 0); return 0; }
SEC("tc") int nests(void *c) { int k = 1; return bpf_map_lookup_elem(&outer, &k) != 0; }
SEC("tc") int alone(void *c) { return 3; }
"#;

#[test]
fn initialisers_stand_in_the_plan() {
    let object = with_head(INITIAL);
    assert!(
        aya_obj::Object::parse(&object).is_err(),
        "aya reads a PROG_ARRAY's values by now: they may stay"
    );
    let linked = Wish::nowhere().linked(&object);
    let entry = |map: &str, index, value| InitialEntry {
        map: map.into(),
        index,
        value,
    };
    let mut found = linked.resolved.plan.initial.clone();
    found.sort_by_key(|e| (e.map.clone(), e.index));
    assert_eq!(
        found,
        [
            entry("jumps", 0, InitialValue::Program("tail_one".into())),
            entry("jumps", 3, InitialValue::Program("tail_two".into())),
            entry("outer", 1, InitialValue::Map("inner_b".into())),
            entry("outer", 2, InitialValue::Map("inner_a".into())),
        ]
    );
    assert_eq!(inspect(&object).unwrap().initial, linked.resolved.plan.initial);
    assert_eq!(shape(&linked, "jumps"), (4, 4, 4));
    assert_eq!(shape(&linked, "outer"), (4, 4, 8));
    assert!(
        linked.object.maps["outer"].inner().is_some(),
        "aya makes the inner map's type"
    );
    assert_eq!(loads(linked.code("entry")), [(1, linked.fd("jumps"), 0)]);
}

#[test]
fn a_program_that_a_chosen_one_jumps_to_stays_with_it() {
    let object = with_head(INITIAL);
    let linked = Wish::nowhere().programs(&["entry"]).linked(&object);
    let programs: Vec<_> = linked
        .resolved
        .plan
        .programs
        .iter()
        .map(|p| (p.name.as_str(), p.wanted))
        .collect();
    assert_eq!(
        programs,
        [("tail_one", false), ("tail_two", false), ("entry", true)]
    );
    let linked = Wish::nowhere().programs(&["alone"]).linked(&object);
    assert_eq!(linked.resolved.plan.programs.len(), 1);
    let values: Vec<_> = linked
        .resolved
        .plan
        .initial
        .iter()
        .map(|e| e.map.as_str())
        .collect();
    assert_eq!(values, ["outer", "outer"], "no program of the other is there");
}

const DATA: &str = r#"
const volatile int limit = 5;
const volatile char name[8] = "abc";
int counter = 7;
static int hidden_counter = 9;
long zeroed[4];
const volatile int other SEC(".rodata.config") = 3;
SEC("tp/a/b") int run(void *c) {
    counter += limit + other; hidden_counter += name[1]; zeroed[2] += hidden_counter; return counter;
}
"#;

#[test]
fn variables_keep_their_sections_places_and_values() {
    let object = with_head(DATA);
    let info = inspect(&object).unwrap();
    let linked = Wish::nowhere().linked(&object);
    for map in &info.maps {
        let opened = &linked.object.maps[&map.name];
        assert_eq!(opened.value_size(), map.value_size, "{}", map.name);
        assert_eq!(
            opened.data().len(),
            usize::try_from(map.value_size).unwrap(),
            "{}",
            map.name
        );
    }
    let mut raw = aya_obj::Object::parse(&object).unwrap();
    for (name, map) in &raw.maps {
        assert_eq!(map.data(), linked.object.maps[name].data(), "{name}");
    }
    // The same instructions as aya makes of the object itself.
    let text = raw.functions.keys().map(|(s, _)| *s).collect();
    let maps: Vec<_> = raw
        .maps
        .iter()
        .map(|(n, m)| (n.clone(), linked.fd(n), m.clone()))
        .collect();
    raw.relocate_maps(maps.iter().map(|(n, fd, m)| (n.as_str(), *fd, m)), &text)
        .unwrap();
    let original = &raw.functions[&raw.programs["run"].function_key()].instructions;
    assert_eq!(loads(original), loads(linked.code("run")));
    // Globals can still be set by name.
    let mut opened = aya_obj::Object::parse(&linked.resolved.elf).unwrap();
    let value = 77i32.to_ne_bytes();
    let globals = [("limit", (&value[..], true)), ("counter", (&value[..], true))];
    opened.patch_map_data(globals.into_iter().collect()).unwrap();
}

#[test]
fn values_of_variables_replace_their_section() {
    let object = with_head(DATA);
    let mut wish = Wish::nowhere();
    wish.globals
        .insert(".rodata.config".into(), 42i32.to_ne_bytes().to_vec());
    let linked = wish.linked(&object);
    assert_eq!(linked.object.maps[".rodata.config"].data(), 42i32.to_ne_bytes());
    wish.globals.insert(".rodata".into(), vec![0; 3]);
    assert!(
        wish.refusal(&object)
            .contains("3 bytes are given, the section has")
    );
    wish.globals.clear();
    wish.globals.insert(".bss".into(), vec![1; 32]);
    assert!(wish.refusal(&object).contains("its variables begin as zero"));
    wish.globals.clear();
    wish.globals.insert(".rodata.none".into(), vec![]);
    assert!(wish.refusal(&object).contains("the object has no such section"));
}

#[test]
fn legacy_and_static_maps_are_found() {
    let linked = Wish::nowhere().linked(&with_head(
        r#"
        struct bpf_map_def { unsigned type, key_size, value_size, max_entries, map_flags; };
        struct bpf_map_def old SEC("maps") = { BPF_MAP_TYPE_HASH, 4, 8, 64, 0 };
        struct bpf_map_def older SEC("maps") = { BPF_MAP_TYPE_HASH, 4, 4, 32, 0 };
        static struct {
            __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, __u32); __type(value, __u32);
        } first SEC(".maps");
        static struct {
            __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 5); __type(key, __u32); __type(value, __u32);
        } second SEC(".maps");
        SEC("tp/a/b") int run(void *c) {
            int k = 0;
            bpf_map_update_elem(&old, &k, &k, 0);
            bpf_map_update_elem(&older, &k, &k, 0);
            bpf_map_update_elem(&first, &k, &k, 0);
            bpf_map_update_elem(&second, &k, &k, 0);
            return 0;
        }
        "#,
    ));
    let expected = ["old", "older", "first", "second"].map(|m| (1, linked.fd(m), 0));
    assert_eq!(loads(linked.code("run")), expected);
    assert_eq!(shape(&linked, "older"), (4, 4, 32));
    assert_eq!(shape(&linked, "second"), (4, 4, 5));
}

#[test]
fn variables_outside_of_data_sections_are_refused_where_they_are_used() {
    let object = with_head(
        r#"
        int odd SEC("custom") = 3;
        SEC("tp/a/b") int uses(void *c) { return odd; }
        SEC("tp/a/b") int fine(void *c) { return 1; }
        "#,
    );
    let message = Wish::nowhere().refusal(&object);
    assert!(
        message.contains("uses: section \"custom\", which is neither a map nor"),
        "{message}"
    );
    assert_eq!(
        Wish::nowhere()
            .programs(&["fine"])
            .linked(&object)
            .code("fine")
            .len(),
        2
    );
}
