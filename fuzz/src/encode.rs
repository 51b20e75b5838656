//! [`Writer`]: BTF and relocations as a recipe, for seeds.

use btf::{Btf, Definition as D, Kind, RelocationInfo};

use crate::input::{LONG, NAMES};
use crate::recipe::{CODES, NAME, PART, Part, SAME, WANT};

/// Writes a recipe.
pub struct Writer {
    names: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            names: NAMES.iter().map(|name| name.to_vec()).collect(),
            out: vec![0],
        }
    }
}

impl Writer {
    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Types that follow are of this part.
    pub fn part(&mut self, part: Part) {
        self.out.push(PART + part as u8);
    }

    /// The kernel has the object's types.
    pub fn same(&mut self) {
        self.out.push(SAME);
    }

    /// All types of a BTF; members and the like beyond 127 are left out.
    pub fn types(&mut self, btf: &Btf<'_>) {
        btf.types()
            .filter_map(|t| t.definition())
            .for_each(|d| self.definition(&d));
    }

    /// A relocation of `btf`, which changes an instruction that begins so.
    pub fn relocation(&mut self, btf: &Btf<'_>, relocation: &RelocationInfo, code: u8) {
        let steps: Vec<u8> = btf
            .text(relocation.access)
            .split(':')
            .filter_map(|step| step.parse::<u8>().ok())
            .collect();
        self.out.extend([WANT, relocation.kind as u8]);
        self.number(relocation.type_id);
        self.out.push(steps.len().min(15) as u8);
        self.out.extend(steps.iter().take(15));
        self.out
            .push(CODES.iter().position(|c| *c == code).unwrap_or(3) as u8 * 2);
    }

    fn number(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(small) if small < LONG => self.out.push(small),
            _ => {
                self.out.push(LONG);
                self.out.extend(value.to_le_bytes());
            }
        }
    }

    /// The number of a name; the empty one if there is no room for more.
    fn name(&mut self, name: &[u8]) -> u32 {
        if let Some(known) = self.names.iter().position(|n| n == name) {
            return known as u32;
        }
        if self.names.len() >= usize::from(LONG) {
            return 0;
        }
        let name = &name[..name.len().min(63)];
        self.names.push(name.to_vec());
        self.out.extend([NAME, name.len() as u8]);
        self.out.extend(name);
        self.names.len() as u32 - 1
    }

    fn definition(&mut self, d: &D) {
        let none: &[u8] = b"";
        // Kind, name, flag, count, third word; then words of each item, the first of which is a name's.
        type Items<'d> = Vec<(Option<&'d [u8]>, Vec<u32>)>;
        let (kind, name, flag, size_or_type, items): (Kind, &[u8], bool, u32, Items<'_>) = match d {
            D::Int {
                name,
                size,
                raw,
                offset,
                bits,
            } => {
                let word = u32::from(*raw) << 24 | u32::from(*offset) << 16 | u32::from(*bits);
                (Kind::Int, name, false, *size, vec![(None, vec![word])])
            }
            D::Ptr(target) => (Kind::Ptr, none, false, *target, vec![]),
            D::Array(a) => (
                Kind::Array,
                none,
                false,
                0,
                vec![(None, vec![a.element, a.index, a.length])],
            ),
            D::Composite {
                union,
                name,
                size,
                flag,
                members,
            } => {
                let items = members
                    .iter()
                    .map(|m| (Some(&*m.name), vec![m.type_id, m.raw_offset]));
                (
                    if *union { Kind::Union } else { Kind::Struct },
                    name,
                    *flag,
                    *size,
                    items.collect(),
                )
            }
            D::Enum {
                wide,
                name,
                size,
                signed,
                values,
            } => {
                let words = |v: i64| vec![v as u32, (v >> 32) as u32][..1 + usize::from(*wide)].to_vec();
                let items = values.iter().map(|v| (Some(&*v.name), words(v.value)));
                (
                    if *wide { Kind::Enum64 } else { Kind::Enum },
                    name,
                    *signed,
                    *size,
                    items.collect(),
                )
            }
            D::Fwd { name, union } => (Kind::Fwd, name, *union, 0, vec![]),
            D::Typedef { name, target } => (Kind::Typedef, name, false, *target, vec![]),
            D::Qualifier { kind, target } => (*kind, none, false, *target, vec![]),
            D::Func { name, prototype, .. } => (Kind::Func, name, false, *prototype, vec![]),
            D::FuncProto { returns, parameters } => {
                let items = parameters.iter().map(|p| (Some(&*p.name), vec![p.type_id]));
                (Kind::FuncProto, none, false, *returns, items.collect())
            }
            D::Var { name, target, .. } => (Kind::Var, name, false, *target, vec![(None, vec![1])]),
            D::Datasec {
                name,
                size,
                variables,
            } => {
                let items = variables
                    .iter()
                    .map(|v| (None, vec![v.type_id, v.offset, v.size]));
                (Kind::Datasec, name, false, *size, items.collect())
            }
            D::Float { name, size } => (Kind::Float, name, false, *size, vec![]),
            D::DeclTag {
                name,
                target,
                component,
                flag,
            } => (
                Kind::DeclTag,
                name,
                *flag,
                *target,
                vec![(None, vec![component.cast_unsigned()])],
            ),
            D::TypeTag { name, target, flag } => (Kind::TypeTag, name, *flag, *target, vec![]),
        };
        let items = &items[..items.len().min(127)];
        // Names come before the type that has them.
        let name = self.name(name);
        let names: Vec<Option<u32>> = items.iter().map(|(n, _)| n.map(|n| self.name(n))).collect();
        let counted = !matches!(kind, Kind::Int | Kind::Array | Kind::Var | Kind::DeclTag);
        let count = if counted { items.len() as u8 } else { 0 };
        self.out.push(kind as u8);
        self.number(name);
        self.out.push(count | u8::from(flag) << 7);
        self.number(size_or_type);
        for (name, (_, words)) in names.into_iter().zip(items) {
            name.into_iter().for_each(|name| self.number(name));
            words.iter().for_each(|word| self.number(*word));
        }
    }
}
