//! A real object with a variable of every type that can be set, and its parts.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use bpf_object::globals::{Global, globals};
use btf::Btf;
use object::{Object, ObjectSection, ObjectSymbol};

pub const SOURCE: &str = r#"
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef unsigned __int128 wide_t;
enum colour { RED, GREEN = 7, BLUE = -3 };
enum big { SMALL = 1, HUGE_ONE = 0x100000000ULL };
struct port { __u16 number; bool open; };
struct config {
    __u32 sample_every;
    enum colour colour;
    struct port ports[4];
    union { __u64 whole; struct { __u32 low, high; }; };
    unsigned int level : 3;
    int bias : 5;
    bool loud : 1;
    enum colour shade : 3;
    char name[8];
    union { __u32 v4; __u8 v6[16]; } address;
    void *next;
};

const volatile bool use_fancy_helper;
const volatile __u32 fallback_value = 5;
const volatile __s8 s8; const volatile __u8 u8;
const volatile __s16 s16; const volatile __u16 u16;
const volatile __s32 s32;
const volatile __s64 s64; const volatile __u64 u64;
const volatile wide_t u128; const volatile __int128 s128;
const volatile char letter = 'a';
const volatile char comm[16] = "init";
const volatile char grid[2][4];
const volatile __u8 mac[6];
const volatile enum colour colour = GREEN;
const volatile enum big big = SMALL;
const volatile float ratio; const volatile double precise = 1.5;
const volatile __u32 numbers[4] = { 1, 2, 3, 4 };
const volatile struct config config = { .sample_every = 3, .ports = { { 1, true }, { 2, true } } };
const volatile void *pointer;
const volatile void *const volatile fixed_pointer;
static const volatile int hidden = 4;
const int folded = 3;
const __u8 table[4] = { 1, 2, 3, 4 };
__u64 seen;
int started = 1;
const volatile int apart SEC(".rodata.apart") = 9;

SEC("tp/sched/sched_switch")
int on_switch(void *ctx)
{
    seen += use_fancy_helper + fallback_value + s8 + u8 + s16 + u16 + s32 + s64 + u64 + letter + started
        + hidden + folded + comm[1] + grid[1][1] + mac[2] + colour + big + numbers[seen & 3] + apart
        + table[seen & 3] + config.level + (long)pointer + (long)fixed_pointer + (__u64)u128 + (__u64)s128;
    return 0;
}
char LICENSE[] SEC("license") = "GPL";
"#;

/// BTF, the sections with bytes, and the variables.
pub struct Fixture {
    pub btf: Vec<u8>,
    pub sections: BTreeMap<String, Vec<u8>>,
    pub globals: Vec<Global>,
}

impl Fixture {
    pub fn read(elf: &[u8]) -> Self {
        let file = object::File::parse(elf).unwrap();
        let btf = file.section_by_name(".BTF").unwrap().data().unwrap().to_vec();
        let sections: BTreeMap<String, Vec<u8>> = file
            .sections()
            .filter(|s| s.kind() != object::SectionKind::UninitializedData)
            .filter_map(|s| Some((s.name().ok()?.to_owned(), s.data().ok()?.to_vec())))
            .collect();
        let symbol = |section: &str, name: &str| {
            let index = file.section_by_name(section)?.index();
            let symbol = file
                .symbols()
                .find(|s| s.name() == Ok(name) && s.section_index() == Some(index))?;
            Some((symbol.address(), symbol.size()))
        };
        let globals = globals(&Btf::parse(btf.as_slice()).unwrap(), &symbol).unwrap();
        Fixture {
            btf,
            sections,
            globals,
        }
    }

    pub fn btf(&self) -> Btf<'_> {
        Btf::parse(self.btf.as_slice()).unwrap()
    }

    pub fn global(&self, name: &str) -> &Global {
        self.globals
            .iter()
            .find(|g| g.name == name)
            .unwrap_or_else(|| panic!("no global {name}"))
    }
}
