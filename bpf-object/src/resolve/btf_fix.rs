//! The object's BTF as the kernel takes it, with what libbpf mends and aya does not.
//!
//! Types are replaced in place and never removed, so that ids in `.BTF.ext` and in instructions stay
//! valid; new ones come after the last.

use std::collections::{BTreeMap, BTreeSet};

use btf::{Btf, Builder, Definition, Kind, Linkage, Type, VariableDef};

use crate::elf::{Elf, SymbolType};
use crate::error::InspectError;
use crate::resolve::kconfig::Layout;

/// What to change beyond what every object needs.
pub(crate) struct Changes<'c> {
    /// Types to add, in order; the first gets the id after the last of the object's.
    pub(crate) added: Vec<Definition>,
    /// Types that variables get, by the variable's id.
    pub(crate) retyped: BTreeMap<u32, u32>,
    /// The section that holds configuration values, and where.
    pub(crate) kconfig: (&'c str, &'c Layout),
}

/// Writes the object's BTF anew; more strings can be added to what comes out.
pub(crate) fn rewrite(elf: &Elf<'_>, btf: &Btf<'_>, changes: Changes<'_>) -> Result<Builder, InspectError> {
    let bad = |detail: String| InspectError::malformed("section .BTF", detail);
    let fix = Fix::new(elf, btf, changes);
    let mut builder = Builder::with_strings_of(btf);
    // Names may be parts of one another in what is read and are not in what is written: a bound keeps the
    // result within a small multiple of the object.
    let limit = btf.bytes().len().saturating_mul(16).saturating_add(65_536);
    let mut names = 0usize;
    for id in 1..btf.len() {
        let t = btf.get(id).ok_or_else(|| bad(format!("type {id} is cut off")))?;
        let mut definition = t
            .definition()
            .ok_or_else(|| bad(format!("type {id} cannot be read")))?;
        fix.apply(t, &mut definition);
        names = names.saturating_add(names_of(&definition));
        if names > limit {
            return Err(bad("its names are out of proportion to its size".into()));
        }
        builder.add(&definition);
    }
    for definition in &fix.changes.added {
        builder.add(definition);
    }
    Ok(builder)
}

struct Fix<'f, 'c> {
    btf: &'f Btf<'f>,
    /// Sizes of sections by name.
    sizes: BTreeMap<&'f str, u64>,
    changes: Changes<'c>,
    /// Functions and variables that are not to be seen from outside, though they are global.
    hidden: BTreeSet<&'f str>,
    /// Where global variables are, by section and name.
    places: BTreeMap<(&'f str, &'f str), u64>,
    /// Variables that stand for kernel symbols.
    ksyms: BTreeSet<u32>,
    /// An `int` for these, and a variable of it.
    integer: u32,
    dummy: Option<u32>,
}

impl<'f, 'c> Fix<'f, 'c> {
    fn new(elf: &'f Elf<'_>, btf: &'f Btf<'_>, mut changes: Changes<'c>) -> Self {
        let mut hidden = BTreeSet::new();
        let mut places = BTreeMap::new();
        for symbol in elf.symbols.iter().filter(|s| !s.local) {
            let Some(section) = symbol.section.and_then(|i| elf.sections.get(i)) else {
                continue;
            };
            // A hidden program stays global: only subprograms are verified on their own.
            if symbol.hidden && (symbol.kind != SymbolType::Function || section.is_text()) {
                hidden.insert(symbol.name);
            }
            if symbol.kind == SymbolType::Other {
                places.insert((section.name, symbol.name), symbol.value);
            }
        }
        let externs: Vec<Type<'_>> = btf
            .types()
            .filter(|t| t.kind() == Kind::Datasec && t.name() == ".ksyms")
            .flat_map(|t| t.variables().filter_map(move |v| t.btf().get(v.type_id)))
            .collect();
        let ksyms = externs
            .iter()
            .filter(|t| t.kind() == Kind::Var)
            .map(Type::id)
            .collect();
        let (mut integer, mut dummy) = (0, None);
        if !externs.is_empty() {
            let known = btf
                .types()
                .find(|t| t.kind() == Kind::Int && t.own_size() == Some(4));
            let mut add = |definition| {
                let place = u32::try_from(changes.added.len()).unwrap_or(u32::MAX);
                changes.added.push(definition);
                btf.len().saturating_add(place)
            };
            integer = known.map_or_else(
                || {
                    add(Definition::Int {
                        name: b"int".to_vec(),
                        size: 4,
                        raw: 1,
                        offset: 0,
                        bits: 32,
                    })
                },
                |t| t.id(),
            );
            if externs.iter().any(|t| t.kind() == Kind::Func) {
                dummy = Some(add(Definition::Var {
                    name: b"dummy_ksym".to_vec(),
                    target: integer,
                    linkage: Linkage::Global,
                }));
            }
        }
        Fix {
            btf,
            // Of several the first counts.
            sizes: elf.sections.iter().rev().map(|s| (s.name, s.size)).collect(),
            changes,
            hidden,
            places,
            ksyms,
            integer,
            dummy,
        }
    }

    fn apply(&self, t: Type<'_>, definition: &mut Definition) {
        match definition {
            // The kernel knows static and global functions only.
            Definition::Func { linkage, .. } => match linkage {
                Linkage::Extern => *linkage = Linkage::Global,
                Linkage::Global if self.hidden.contains(t.name()) => *linkage = Linkage::Static,
                _ => {}
            },
            Definition::Var { linkage, target, .. } => {
                match linkage {
                    Linkage::Extern => *linkage = Linkage::Global,
                    Linkage::Global if self.hidden.contains(t.name()) => *linkage = Linkage::Static,
                    _ => {}
                }
                if self.ksyms.contains(&t.id()) {
                    *target = self.integer;
                }
                if let Some(id) = self.changes.retyped.get(&t.id()) {
                    *target = *id;
                }
            }
            Definition::Datasec {
                name,
                size,
                variables,
            } => match t.name() {
                ".ksyms" => self.ksyms_section(size, variables),
                ".kconfig" => self.kconfig_section(name, size, variables),
                section => self.section(section, name, size, variables),
            },
            _ => {}
        }
        // Constants without a name make a section without a variable, which kernels before 5.12 refuse with all of the
        // BTF ("vlen == 0" in btf_datasec_check_meta of kernel/bpf/btf.c). Nothing refers to such a section.
        if let Definition::Datasec { size, variables, .. } = definition
            && variables.is_empty()
        {
            *definition = Definition::Composite {
                union: false,
                name: Vec::new(),
                size: *size,
                flag: false,
                members: Vec::new(),
            };
        }
    }

    /// Kernel symbols take no room in the object: each becomes an `int` of its own.
    fn ksyms_section(&self, size: &mut u32, variables: &mut [VariableDef]) {
        let mut offset = 0u32;
        for variable in variables {
            let function = self
                .btf
                .get(variable.type_id)
                .is_some_and(|t| t.kind() == Kind::Func);
            if let Some(dummy) = self.dummy.filter(|_| function) {
                variable.type_id = dummy;
            }
            (variable.offset, variable.size) = (offset, 4);
            offset = offset.saturating_add(4);
        }
        *size = offset;
    }

    fn kconfig_section(&self, name: &mut Vec<u8>, size: &mut u32, variables: &mut [VariableDef]) {
        let (section, layout) = self.changes.kconfig;
        for variable in variables.iter_mut() {
            let named = self.btf.get(variable.type_id);
            if let Some((offset, size)) = named.and_then(|t| layout.variables.get(t.name())) {
                (variable.offset, variable.size) = (*offset, *size);
            }
        }
        variables.sort_by_key(|v| v.offset);
        *size = u32::try_from(layout.bytes.len()).unwrap_or(u32::MAX);
        *name = section.as_bytes().to_vec();
    }

    /// Compilers leave sizes and offsets to the loader.
    fn section(&self, section: &str, name: &mut [u8], size: &mut u32, variables: &mut Vec<VariableDef>) {
        if *size == 0 {
            let elf = self.sizes.get(section).copied().unwrap_or(0);
            *size = u32::try_from(elf).unwrap_or(0);
            variables.retain_mut(|variable| {
                let Some(t) = self.btf.get(variable.type_id).filter(|t| t.kind() == Kind::Var) else {
                    return false;
                };
                // Those of static ones are right already. A variable without a symbol is gone.
                if t.linkage() == Some(Linkage::Static) {
                    return true;
                }
                let place = self.places.get(&(section, t.name()));
                place.is_some_and(|at| {
                    variable.offset = u32::try_from(*at).unwrap_or(u32::MAX);
                    true
                })
            });
        }
        variables.sort_by_key(|v| v.offset);
        let end = variables.iter().map(|v| v.offset.saturating_add(v.size)).max();
        // Never 0, for which aya would look in the file again.
        *size = (*size).max(end.unwrap_or(0)).max(1);
        // Older kernels refuse the mark of what is not loaded by default.
        if let Some(first) = name.first_mut().filter(|c| **c == b'?') {
            *first = b'_';
        }
    }
}

fn names_of(definition: &Definition) -> usize {
    use Definition as D;
    match definition {
        D::Composite { name, members, .. } => {
            name.len() + members.iter().map(|m| m.name.len()).sum::<usize>()
        }
        D::Enum { name, values, .. } => name.len() + values.iter().map(|v| v.name.len()).sum::<usize>(),
        D::FuncProto { parameters, .. } => parameters.iter().map(|p| p.name.len()).sum(),
        D::Int { name, .. }
        | D::Fwd { name, .. }
        | D::Typedef { name, .. }
        | D::Func { name, .. }
        | D::Var { name, .. }
        | D::Datasec { name, .. }
        | D::Float { name, .. }
        | D::DeclTag { name, .. }
        | D::TypeTag { name, .. } => name.len(),
        D::Ptr(_) | D::Array(_) | D::Qualifier { .. } => 0,
    }
}
