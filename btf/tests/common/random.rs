//! Random BTF that looks like a kernel's in small: few names, so that types match, are ambiguous and are
//! missed often, and targets that are changed copies of what relocations speak of.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use btf::Kind;
use proptest::prelude::*;

/// A type whose references are distances.
#[derive(Debug, Clone)]
pub enum Raw {
    Int {
        size: u32,
        raw: u8,
        offset: u8,
    },
    Float,
    Ptr {
        to: u32,
        any: bool,
    },
    Array {
        of: u32,
        length: u32,
    },
    Composite {
        union: bool,
        name: &'static str,
        size: u32,
        flag: bool,
        members: Vec<RawMember>,
    },
    Enum {
        wide: bool,
        name: &'static str,
        size: u32,
        signed: bool,
        values: Vec<(&'static str, i64)>,
    },
    Fwd {
        name: &'static str,
        union: bool,
    },
    Typedef {
        name: &'static str,
        to: u32,
    },
    Qualifier {
        kind: Kind,
        to: u32,
    },
    TypeTag {
        to: u32,
    },
    FuncProto {
        returns: u32,
        parameters: Vec<u32>,
    },
}

#[derive(Debug, Clone)]
pub struct RawMember {
    pub name: &'static str,
    pub of: u32,
    pub offset: u32,
    pub bits: u32,
}

/// How a target's type comes from a local one.
#[derive(Debug, Clone)]
pub enum Change {
    Keep,
    Tweak(u32),
    Replace(Raw),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "a___x", "b___y", "c", ""])
}

fn member_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["m", "n", "o", "p", "m___f", "", ""])
}

fn value_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["A", "B", "C", "A___1", "B___2"])
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![30 => 0u32..4, 3 => Just(1 << 14), 1 => Just(1 << 30), 1 => Just(u32::MAX)]
}

fn member() -> impl Strategy<Value = RawMember> {
    let offset = prop_oneof![6 => (0u32..16).prop_map(|o| o * 32), 2 => 0u32..256, 1 => Just(40_000 * 8)];
    let bits = prop_oneof![3 => Just(0u32), 1 => 1u32..40, 1 => 1u32..5];
    (member_name(), any::<u32>(), offset, bits).prop_map(|(name, of, offset, bits)| RawMember {
        name,
        of,
        offset,
        bits,
    })
}

pub fn raw() -> impl Strategy<Value = Raw> {
    let size = prop_oneof![60 => 0u32..64, 3 => Just(100_000), 1 => Just(1 << 31), 1 => Just(u32::MAX)];
    let value = prop_oneof![-3i64..4, Just(i64::from(u32::MAX)), Just(1 << 40), Just(i64::MIN)];
    let offset = prop_oneof![19 => Just(0u8), 1 => Just(3u8)];
    prop_oneof![
        2 => (prop::sample::select(vec![1u32, 2, 4, 8, 16]), 0u8..8, offset)
            .prop_map(|(size, raw, offset)| Raw::Int { size, raw, offset }),
        1 => Just(Raw::Float),
        3 => (any::<u32>(), any::<bool>()).prop_map(|(to, any)| Raw::Ptr { to, any }),
        2 => (any::<u32>(), length()).prop_map(|(of, length)| Raw::Array { of, length }),
        8 => (any::<bool>(), name(), size, any::<bool>(), prop::collection::vec(member(), 0..5)).prop_map(
            |(union, name, size, flag, members)| Raw::Composite { union, name, size, flag, members }
        ),
        3 => (
            any::<bool>(),
            name(),
            prop::sample::select(vec![1u32, 4, 8]),
            any::<bool>(),
            prop::collection::vec((value_name(), value), 0..4)
        )
            .prop_map(|(wide, name, size, signed, values)| Raw::Enum { wide, name, size, signed, values }),
        1 => (name(), any::<bool>()).prop_map(|(name, union)| Raw::Fwd { name, union }),
        3 => (name(), any::<u32>()).prop_map(|(name, to)| Raw::Typedef { name, to }),
        1 => (prop::sample::select(vec![Kind::Const, Kind::Volatile, Kind::Restrict]), any::<u32>())
            .prop_map(|(kind, to)| Raw::Qualifier { kind, to }),
        1 => any::<u32>().prop_map(|to| Raw::TypeTag { to }),
        1 => (any::<u32>(), prop::collection::vec(any::<u32>(), 0..3))
            .prop_map(|(returns, parameters)| Raw::FuncProto { returns, parameters }),
    ]
}

pub fn raws(most: usize) -> impl Strategy<Value = Vec<Raw>> {
    prop::collection::vec(raw(), 1..most)
}

pub fn changes(most: usize) -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(
        prop_oneof![
            3 => Just(Change::Keep),
            3 => any::<u32>().prop_map(Change::Tweak),
            1 => raw().prop_map(Change::Replace),
        ],
        1..most,
    )
}

/// A copy with changes.
pub fn changed(raws: &[Raw], changes: &[Change]) -> Vec<Raw> {
    raws.iter()
        .zip(changes.iter().cycle())
        .map(|(raw, change)| match change {
            Change::Keep => raw.clone(),
            Change::Replace(other) => other.clone(),
            Change::Tweak(how) => tweaked(raw, *how),
        })
        .collect()
}

/// With one name for all enums and declarations that have one.
pub fn one_name(mut raws: Vec<Raw>) -> Vec<Raw> {
    for raw in &mut raws {
        if let Raw::Enum { name, .. } | Raw::Fwd { name, .. } = raw {
            *name = match *name {
                "" => "",
                "b___y" => "a___y",
                _ => "a",
            };
        }
    }
    raws
}

/// A small change.
fn tweaked(raw: &Raw, how: u32) -> Raw {
    let (what, more) = (how % 5, how / 5);
    let mut raw = raw.clone();
    match &mut raw {
        Raw::Int { size, raw, .. } if what == 0 => {
            (*size, *raw) = ([1, 2, 4, 8][more as usize % 4], (more % 8) as u8);
        }
        Raw::Int { size, .. } => *size = [1, 2, 4, 8][more as usize % 4],
        Raw::Array { length, .. } => *length = more % 4,
        Raw::Composite {
            name,
            size,
            members,
            union,
            ..
        } => {
            let at = more as usize % members.len().max(1);
            match what {
                0 if !members.is_empty() => drop(members.remove(at)),
                1 if !members.is_empty() => members[at].offset = (more % 20) * 32,
                2 => *name = ["a", "b", "a___x", "b___z"][more as usize % 4],
                3 => *size = more % 128,
                _ if !members.is_empty() => members[at].of = more,
                _ => *union = !*union,
            }
        }
        Raw::Enum {
            wide,
            name,
            values,
            signed,
            ..
        } => match what {
            0 if !values.is_empty() => drop(values.remove(more as usize % values.len())),
            1 if !values.is_empty() => {
                let at = more as usize % values.len();
                values[at].1 = i64::from(more % 7);
            }
            2 => *wide = !*wide,
            3 => *name = ["a", "b", "a___x"][more as usize % 3],
            _ => *signed = !*signed,
        },
        Raw::Typedef { to, .. } | Raw::Ptr { to, .. } | Raw::Qualifier { to, .. } => *to = more,
        _ => {}
    }
    raw
}
