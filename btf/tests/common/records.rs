//! Random relocations of random types.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use btf::{Btf, Builder, Definition as D, Endian, RelocationInfo};
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
    let kind = prop_oneof![12 => 0u32..13, 1 => Just(13u32)];
    let path = prop::collection::vec(any::<u32>(), 1..6);
    let record = (kind, any::<u32>(), path, prop::bool::weighted(0.05), 0usize..8).prop_map(
        |(kind, root, path, wild, code)| Record {
            kind,
            root,
            path,
            wild,
            code,
        },
    );
    prop::collection::vec(record, 1..8)
}

/// Instructions of each form: mov, add, 64-bit immediate, load, store of either kind, jump, register move.
const CODES: [[u8; 16]; 8] = {
    let mut codes = [[0; 16]; 8];
    let first = [0xb7, 0x07, 0x18, 0x61, 0x7b, 0x62, 0x05, 0xbf];
    let mut at = 0;
    while at < 8 {
        codes[at][0] = first[at];
        at += 1;
    }
    codes
};

/// An object's types with relocations of them. Roots are types that are looked up by their names.
pub fn object(definitions: &[D], records: &[Record]) -> Parts {
    let plain = super::random::encode(Endian::HOST, definitions);
    let btf = Btf::parse(plain.as_slice()).unwrap();
    let mut builder = Builder::new(Endian::HOST);
    for definition in definitions {
        builder.add(definition);
    }
    let fits = |d: &D, kind: u32| match kind {
        10 | 11 => matches!(d, D::Enum { .. } | D::Typedef { .. }),
        0..=5 => matches!(d, D::Composite { .. } | D::Typedef { .. }),
        _ => !matches!(d, D::TypeTag { .. }),
    };
    let mut relocations = Vec::new();
    let mut code = Vec::new();
    for record in records {
        let roots: Vec<u32> = (1..)
            .zip(definitions)
            .filter(|(_, d)| fits(d, record.kind) || record.wild && !matches!(d, D::TypeTag { .. }))
            .map(|(id, _)| id)
            .collect();
        let Some(root) = roots.get(record.root as usize % roots.len().max(1)) else {
            continue;
        };
        let access = access(&btf, *root, record);
        relocations.push((
            "code".to_owned(),
            RelocationInfo {
                instruction_offset: code.len() as u32,
                type_id: *root,
                access: builder.string(access.as_bytes()),
                kind: record.kind,
            },
        ));
        code.extend_from_slice(&CODES[record.code]);
    }
    Parts {
        btf: builder.finish(),
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
    let mut t = btf.get(root).and_then(btf::Type::resolved);
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
        t = btf.get(next).and_then(btf::Type::resolved);
    }
    let steps: Vec<String> = steps.iter().map(u32::to_string).collect();
    steps.join(":")
}
