//! Tables of kernel operations (`.struct_ops`), laid out as the kernel has them.

use std::collections::BTreeMap;

use btf::co_re::Targets;
use btf::{Btf, Kind, Type, essential};

use crate::bytes::Bytes;
use crate::code::Code;
use crate::elf::Elf;
use crate::error::InspectError;
use crate::resolve::error::ResolveError;
use crate::resolve::lookup;
use crate::resolve::plan::{AttachBtf, StructOpsPlan};
use crate::resolve::request::Target;

/// What the kernel calls the type of such a map's value, before the name of the table's.
const VALUE: &str = "bpf_struct_ops_";
/// Most tables of one object: each is looked for in the whole kernel.
const MAX_TABLES: usize = 64;
/// Largest value, in bytes; the kernel's are some hundreds.
const MAX_VALUE: u32 = 1 << 16;

/// A table as the object has it.
pub(crate) struct Table<'o> {
    pub(crate) name: &'o str,
    local: Type<'o>,
    data: &'o [u8],
    link: bool,
    /// Members that functions were put into, with the function's index.
    members: Vec<(u32, usize)>,
    /// How it looks in the kernel, if there is one to look at.
    kernel: Option<Result<Kernel, ResolveError>>,
}

/// A table as the kernel has it.
struct Kernel {
    /// Index of the module; `None` for the kernel itself.
    module: Option<usize>,
    type_id: u32,
    value_type: u32,
    value: Vec<u8>,
    /// Functions with the member's number, and where in the value it is.
    functions: Vec<(usize, u32, u32)>,
}

/// All tables of an object.
pub(crate) struct Tables<'o> {
    all: Vec<Table<'o>>,
}

impl<'o> Tables<'o> {
    pub(crate) fn read(
        elf: &'o Elf<'_>,
        code: &Code<'_>,
        btf: Option<&'o Btf<'_>>,
        target: Target<'_>,
    ) -> Result<Self, InspectError> {
        let mut all = Vec::new();
        for section in btf.iter().flat_map(|b| b.types()) {
            let plain = section.name().strip_prefix('?').unwrap_or(section.name());
            if section.kind() != Kind::Datasec || !matches!(plain, ".struct_ops" | ".struct_ops.link") {
                continue;
            }
            for variable in section.variables() {
                all.extend(Table::read(elf, code, section, variable.type_id)?);
                if all.len() > MAX_TABLES {
                    return Err(InspectError::too_many(
                        "the list of struct_ops tables",
                        all.len(),
                        MAX_TABLES,
                    ));
                }
            }
        }
        if let Some(targets) = target.kernel() {
            for table in &mut all {
                table.kernel = Some(table.in_kernel(targets));
            }
        }
        Ok(Tables { all })
    }

    /// Functions that stand in a table with this one, and that this kernel's table has: all of them are
    /// needed for it.
    pub(crate) fn together(&self, function: usize) -> Vec<usize> {
        let of = |table: &Table<'_>| -> Vec<usize> {
            match &table.kernel {
                Some(Ok(kernel)) => kernel.functions.iter().map(|(f, ..)| *f).collect(),
                _ => Vec::new(),
            }
        };
        let holding = self
            .all
            .iter()
            .filter(|t| t.members.iter().any(|(_, f)| *f == function));
        holding.flat_map(of).collect()
    }

    /// What a program attaches to, and the number of its member.
    pub(crate) fn attach(
        &self,
        program: &str,
        function: usize,
        targets: Targets<'_>,
    ) -> Result<(AttachBtf, u32), ResolveError> {
        let mut holding = self
            .all
            .iter()
            .filter(|t| t.members.iter().any(|(_, f)| *f == function));
        let table = holding.next().ok_or_else(|| ResolveError::StructOps {
            table: program.into(),
            detail: "the function is in no table; put it into a struct in SEC(\".struct_ops\")".into(),
        })?;
        let kernel = match &table.kernel {
            Some(Ok(kernel)) => kernel,
            Some(Err(error)) => return Err(error.clone()),
            None => return Err(table.error("there is no BTF of the kernel".into())),
        };
        let (_, number, _) = kernel
            .functions
            .iter()
            .find(|(f, ..)| *f == function)
            .ok_or_else(|| ResolveError::AttachTargetMissing {
                program: program.into(),
                name: format!("member for it in struct {}", table.type_name()),
                module: None,
            })?;
        let attach = AttachBtf {
            type_id: kernel.type_id,
            module: module_name(targets, kernel.module),
            name: table.type_name(),
        };
        Ok((attach, *number))
    }

    /// Tables of which all functions stay, for the plan; `name` gives a program's name.
    pub(crate) fn plan<'n>(
        &self,
        target: Target<'_>,
        name: impl Fn(usize) -> Option<&'n str>,
    ) -> Vec<StructOpsPlan> {
        let Some(targets) = target.kernel() else {
            return Vec::new();
        };
        let mut out = Vec::new();
        for table in &self.all {
            let Some(Ok(kernel)) = &table.kernel else { continue };
            let functions: Option<Vec<(u32, String)>> = kernel
                .functions
                .iter()
                .map(|(function, _, offset)| Some((*offset, name(*function)?.to_owned())))
                .collect();
            let Some(functions) = functions.filter(|f| !f.is_empty()) else {
                continue;
            };
            out.push(StructOpsPlan {
                name: table.name.to_owned(),
                link: table.link,
                value_type: AttachBtf {
                    type_id: kernel.value_type,
                    module: module_name(targets, kernel.module),
                    name: format!("{VALUE}{}", table.type_name()),
                },
                value: kernel.value.clone(),
                functions,
            });
        }
        out
    }
}

impl<'o> Table<'o> {
    fn read(
        elf: &'o Elf<'_>,
        code: &Code<'_>,
        section: Type<'o>,
        variable: u32,
    ) -> Result<Option<Self>, InspectError> {
        let Some(variable) = section.btf().get(variable).filter(|t| t.kind() == Kind::Var) else {
            return Ok(None);
        };
        let name = variable.name();
        let bad = |detail: &str| InspectError::malformed(format!("table {name:?}"), detail);
        let local = variable
            .target()
            .and_then(|id| section.btf().get(id)?.resolved())
            .filter(|t| t.kind() == Kind::Struct && !t.name().is_empty())
            .ok_or_else(|| bad("it is no struct with a name"))?;
        let mut symbols = elf.symbols.iter().filter(|s| s.name == name);
        let (index, start) = symbols
            .find_map(|s| Some((s.section.filter(|i| is_of(elf, *i, section.name()))?, s.value)))
            .ok_or_else(|| bad("it has no symbol"))?;
        let size = local.own_size().unwrap_or(0);
        let source = elf.sections.get(index).map_or(&[][..], |s| s.data);
        let from = usize::try_from(start).ok();
        let data = from.and_then(|from| source.get(from..)?.get(..size as usize));
        let data = data.ok_or_else(|| bad("it reaches beyond its section"))?;
        let mut by_place = BTreeMap::new();
        for (number, member) in (0u32..).zip(local.members()) {
            by_place.entry(u64::from(member.bit_offset)).or_insert(number);
        }
        let mut members = Vec::new();
        for relocation in elf.relocations.get(&index).into_iter().flatten() {
            let Some(at) = relocation
                .offset
                .checked_sub(start)
                .filter(|at| *at < u64::from(size))
            else {
                continue;
            };
            let member = by_place.get(&at.saturating_mul(8));
            let symbol = elf.symbols.get(relocation.symbol);
            let place = usize::try_from(relocation.offset).ok();
            let addend = place
                .and_then(|p| Bytes::new(source, elf.endian).u64(p))
                .unwrap_or(0);
            let function = symbol.and_then(|s| code.at(s.section?, s.value.checked_add(addend)?));
            match (member, function) {
                (Some(number), Some(function)) => members.push((*number, function)),
                _ => return Err(bad("a pointer in it is of no member, or to no function")),
            }
        }
        Ok(Some(Table {
            name,
            local,
            data,
            link: section.name().ends_with(".link"),
            members,
            kernel: None,
        }))
    }

    fn type_name(&self) -> String {
        String::from_utf8_lossy(essential(self.local.name_bytes())).into_owned()
    }

    fn error(&self, detail: String) -> ResolveError {
        ResolveError::StructOps {
            table: self.name.to_owned(),
            detail,
        }
    }

    fn in_kernel(&self, targets: Targets<'_>) -> Result<Kernel, ResolveError> {
        let name = self.type_name();
        let value_name = format!("{VALUE}{name}");
        let wanted = [(Kind::Struct, value_name.clone())].into();
        let missing = || {
            self.error(format!(
                "this kernel has no struct {value_name}, so that it has no such table"
            ))
        };
        let found = lookup::find(targets, &wanted);
        let found = found.values().next().ok_or_else(missing)?;
        let btf = match found.module {
            None => Some(targets.kernel),
            Some(index) => targets.modules.get(index).map(|m| &m.btf),
        };
        let btf = btf.ok_or_else(missing)?;
        let (value, table) = (btf.get(found.id), btf.find(Kind::Struct, name.as_bytes()));
        let (value, table) = value.zip(table).ok_or_else(missing)?;
        let data = value
            .members()
            .find(|m| {
                btf.get(m.type_id)
                    .and_then(Type::resolved)
                    .is_some_and(|t| t.id() == table.id())
            })
            .ok_or_else(|| {
                self.error(format!(
                    "struct {value_name} of this kernel does not hold struct {name}"
                ))
            })?;
        let size = value.own_size().filter(|s| *s <= MAX_VALUE);
        let size =
            size.ok_or_else(|| self.error(format!("struct {value_name} of this kernel is too large")))?;
        let mut kernel = Kernel {
            module: found.module,
            type_id: table.id(),
            value_type: found.id,
            value: vec![0; size as usize],
            functions: Vec::new(),
        };
        let functions: BTreeMap<u32, usize> = self.members.iter().copied().collect();
        let mut places = BTreeMap::new();
        for (number, member) in (0u32..).zip(table.members()) {
            places.entry(member.name_bytes()).or_insert((number, member));
        }
        for (number, member) in (0u32..).zip(self.local.members()) {
            let bytes = self.local.btf().size(member.type_id).unwrap_or(0) as usize;
            let from = (member.bit_offset / 8) as usize;
            let own = self.data.get(from..).and_then(|d| d.get(..bytes)).unwrap_or(&[]);
            let function = functions.get(&number).copied();
            let Some((there, target)) = places.get(member.name_bytes()) else {
                // What is left out does not matter, a function for what is not there is not needed.
                if function.is_none() && own.iter().any(|b| *b != 0) {
                    let member = member.name();
                    return Err(self.error(format!("struct {name} of this kernel has no member {member:?}")));
                }
                continue;
            };
            let at = data.bit_offset / 8 + target.bit_offset / 8;
            let room = kernel
                .value
                .get_mut(at as usize..)
                .and_then(|v| v.get_mut(..own.len()));
            if let Some(function) = function {
                kernel.functions.push((function, *there, at));
            } else if own.iter().any(|b| *b != 0) {
                let same = btf.size(target.type_id).is_some_and(|s| s as usize == bytes);
                let room = room.filter(|_| same && member.bit_size == 0 && target.bit_size == 0);
                let member = member.name();
                room.ok_or_else(|| {
                    self.error(format!("member {member:?} is of another size in this kernel"))
                })?
                .copy_from_slice(own);
            }
        }
        Ok(kernel)
    }
}

fn is_of(elf: &Elf<'_>, index: usize, name: &str) -> bool {
    elf.sections.get(index).is_some_and(|s| s.name == name)
}

fn module_name(targets: Targets<'_>, module: Option<usize>) -> Option<String> {
    module.and_then(|index| Some(targets.modules.get(index)?.name.clone()))
}
