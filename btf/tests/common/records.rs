//! Random relocations of random types.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use btf::co_re::{Outcome, Relocator, Targets};
use btf::{Btf, Builder, Definition as D, Endian, RelocationInfo, Type};
use proptest::prelude::*;

use super::Parts;

/// A relocation whose numbers are choices.
#[derive(Debug, Clone)]
pub struct Record {
    kind: u32,
    root: u32,
    path: Vec<u32>,
    /// Whether the path may lead astray.
    wild: bool,
    code: usize,
}

pub fn records() -> impl Strategy<Value = Vec<Record>> {
    let kind = prop_oneof![40 => 0u32..13, 1 => Just(13u32)];
    let path = prop::collection::vec(any::<u32>(), 1..6);
    let record = (
        kind,
        any::<u32>(),
        path,
        prop::bool::weighted(0.05),
        0..CODES.len(),
    )
        .prop_map(|(kind, root, path, wild, code)| Record {
            kind,
            root,
            path,
            wild,
            code,
        });
    prop::collection::vec(record, 1..8)
}

/// Instructions of each form: move and addition (of 64 and 32 bits), 64-bit immediate, load, stores of
/// either kind, jump, move of a register.
const CODES: [u8; 9] = [0xb7, 0x04, 0x18, 0x18, 0x61, 0x7b, 0x62, 0x05, 0xbf];

/// An instruction of two slots that holds what the object's own types give.
pub fn instruction(code: u8, outcome: Option<&Outcome<'_>>) -> [u8; 16] {
    let mut insn = [code, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let Some(outcome) = outcome else { return insn };
    let value = outcome.original.to_ne_bytes();
    match code & 7 {
        0 => insn[12..16].copy_from_slice(&value[4..]),
        1..=3 => {
            insn[2..4].copy_from_slice(&value[..2]);
            let width = match outcome.original_size {
                1 => 0x10,
                2 => 0x08,
                4 => 0x00,
                _ => 0x18,
            };
            insn[0] = code & !0x18 | width;
            return insn;
        }
        _ => {}
    }
    insn[4..8].copy_from_slice(&value[..4]);
    insn
}

/// An object's types with relocations of them. Roots are types that are looked up by their names.
pub fn object(definitions: &[D], records: &[Record]) -> Parts {
    let plain = super::definitions::encode(Endian::HOST, definitions);
    let btf = Btf::parse(plain.as_slice()).unwrap();
    let mut builder = Builder::new(Endian::HOST);
    for definition in definitions {
        builder.add(definition);
    }
    // Of the kind that is asked about, and with something in it.
    let fits = |id: u32, kind: u32| {
        let t = btf.get(id).and_then(Type::resolved);
        t.is_some_and(|t| match kind {
            10 | 11 => t.kind().is_enum() && t.count() > 0,
            0..=5 => t.kind().is_composite() && t.count() > 0,
            _ => true,
        })
    };
    let named = |d: &D| match d {
        D::Composite { name, .. } | D::Enum { name, .. } | D::Fwd { name, .. } | D::Typedef { name, .. } => {
            !name.is_empty()
        }
        _ => false,
    };
    // Kinds that are not looked up by their names are the one difference from libbpf.
    let any = |d: &D| !matches!(d, D::TypeTag { .. });
    let mut relocations = Vec::new();
    let (mut codes, mut wild) = (Vec::new(), Vec::new());
    for record in records {
        let roots: Vec<u32> = (1..)
            .zip(definitions)
            .filter(|(id, d)| named(d) && fits(*id, record.kind) || record.wild && any(d))
            .map(|(id, _)| id)
            .collect();
        let Some(root) = roots.get(record.root as usize % roots.len().max(1)) else {
            continue;
        };
        let access = access(&btf, *root, record);
        let relocation = RelocationInfo {
            instruction_offset: relocations.len() as u32 * 16,
            type_id: *root,
            access: builder.string(access.as_bytes()),
            kind: record.kind,
        };
        relocations.push(("code".to_owned(), relocation));
        wild.push(record.wild);
        codes.push(CODES[record.code]);
    }
    let btf = builder.finish();
    let local = Btf::parse(btf.as_slice()).unwrap();
    let mut relocator = Relocator::new(&local, Targets::kernel(&local));
    let code = relocations
        .iter()
        .zip(codes.into_iter().zip(wild))
        .flat_map(|((_, relocation), (code, wild))| {
            let outcome = relocator.relocate(relocation).ok();
            instruction(code, outcome.as_ref().filter(|_| !wild))
        })
        .collect();
    drop(relocator);
    drop(local);
    Parts {
        btf,
        relocations,
        code: HashMap::from([("code".to_owned(), code)]),
    }
}

/// An access that fits the type, but for wild ones.
fn access(btf: &Btf<'_>, root: u32, record: &Record) -> String {
    if (6..10).contains(&record.kind) || record.kind >= 12 {
        return "0".into();
    }
    let choice = |of: u32, choice: u32| {
        if record.wild {
            choice % 5
        } else {
            choice % of.max(1)
        }
    };
    let mut t = btf.get(root).and_then(Type::resolved);
    if record.kind >= 10 {
        return choice(t.map_or(0, |t| t.count()), record.path[0]).to_string();
    }
    // The root as an element of an array, sometimes.
    let mut steps = vec![if record.path[0].is_multiple_of(5) { 2 } else { 0 }];
    for step in &record.path[1..] {
        let Some(at) = t else { break };
        let next = if let Some(array) = at.array() {
            // Beyond the end of one without length.
            let step = choice(array.length.max(3), *step);
            steps.push(step);
            array.element
        } else if at.count() > 0 && at.kind().is_composite() {
            let step = choice(at.count(), *step);
            steps.push(step);
            match at.member(step) {
                Some(member) => member.type_id,
                None => break,
            }
        } else {
            break;
        };
        t = btf.get(next).and_then(Type::resolved);
    }
    let steps: Vec<String> = steps.iter().map(u32::to_string).collect();
    steps.join(":")
}
