//! Externs settled: kernel configuration, kernel symbols, kernel functions.

use std::collections::{BTreeMap, BTreeSet};

use btf::{Btf, Endian, Kind, co_re};

use crate::code::{Code, Reference, Target as Place};
use crate::elf::Elf;
use crate::externs::{self, ExternKind};
use crate::instruction::{CALL, INSTRUCTION, Instruction};
use crate::resolve::core::Poison;
use crate::resolve::error::ResolveError;
use crate::resolve::kconfig::Layout;
use crate::resolve::lookup::{self, Found, Wanted};
use crate::resolve::plan::KernelBtfUse;
use crate::resolve::request::{Request, Target};
use crate::resolve::select::Selection;

/// `BPF_PSEUDO_BTF_ID`.
const PSEUDO_BTF_ID: u8 = 3;
/// `BPF_PSEUDO_KFUNC_CALL`.
const PSEUDO_KFUNC_CALL: u8 = 2;
/// The helper number that a call of a missing kernel function becomes; the extern's number is added.
/// libbpf uses the same base, which the verifier quotes.
const POISON_KFUNC: i32 = 2_002_000_000;

/// An extern as the object declares it.
#[derive(Clone, Copy)]
struct Declared<'b> {
    kind: ExternKind,
    name: &'b str,
    weak: bool,
    /// Type of the variable or prototype of the function without qualifiers; 0 for `void`.
    type_id: u32,
}

/// What externs became.
#[derive(Default)]
pub(crate) struct Settled {
    /// Loads of configuration values: function, place in it, and offset of the value.
    pub(crate) kconfig: BTreeMap<(usize, usize), u64>,
    pub(crate) poisoned: Vec<Poison>,
    /// Modules by index in the request, in the order in which they were met: the first is number 1.
    pub(crate) modules: Vec<usize>,
    /// Numbers of modules that each function refers to.
    pub(crate) used_modules: BTreeMap<usize, Vec<u32>>,
    /// What needs the kernel's own BTF, by function.
    pub(crate) kernel_btf: BTreeMap<usize, KernelBtfUse>,
    pub(crate) holds_addresses: bool,
}

/// Everything that settling reads.
pub(crate) struct Context<'c, 'a> {
    pub(crate) elf: &'c Elf<'a>,
    pub(crate) code: &'c Code<'a>,
    pub(crate) btf: Option<&'c Btf<'a>>,
    pub(crate) selection: &'c Selection<'c>,
    pub(crate) request: &'c Request<'c>,
}

/// Settles the externs of the functions that stay, whose instructions are changed.
pub(crate) fn settle(
    context: &Context<'_, '_>,
    layout: &Layout,
    code: &mut BTreeMap<usize, Vec<u8>>,
) -> Result<Settled, ResolveError> {
    let declared = declared(context);
    let uses: Vec<(usize, Reference, usize)> = code
        .keys()
        .flat_map(|f| {
            let references = context
                .code
                .functions
                .get(*f)
                .map_or(&[][..], |f| f.references.as_slice());
            references.iter().filter_map(move |r| match r.to {
                Place::Extern(symbol) => Some((*f, *r, symbol)),
                _ => None,
            })
        })
        .collect();
    let found = search(context, &uses, &declared);
    let mut settled = Settled::default();
    for (function, reference, symbol) in uses.iter().copied() {
        let name = context.elf.symbols.get(symbol).map_or("", |s| s.name);
        let owner = || context.selection.owner(function);
        let Some(declared) = declared.get(name).filter(|d| d.kind != ExternKind::Undefined) else {
            return Err(ResolveError::Undefined {
                program: owner(),
                name: name.into(),
                has_btf: context.btf.is_some(),
            });
        };
        let bytes = code.get_mut(&function).map_or(&mut [][..], |c| c.as_mut_slice());
        let mut place = Site {
            function,
            reference,
            number: symbol,
            code: bytes,
            endian: context.elf.endian,
        };
        match declared.kind {
            ExternKind::Kconfig => {
                let value = layout.places.get(name).filter(|_| !reference.call);
                let value = value.ok_or_else(|| kconfig_missing(context, layout, &uses, function))?;
                settled
                    .kconfig
                    .insert((function, reference.at), u64::from(*value));
            }
            ExternKind::Ksym if declared.type_id == 0 && !reference.call => {
                address(context, declared, &mut place, &mut settled)?;
            }
            _ => typed(context, declared, found.get(name), &mut place, &mut settled)?,
        }
    }
    Ok(settled)
}

/// All that the program lacks which this function is part of, for one look at the kernel's configuration.
fn kconfig_missing(
    context: &Context<'_, '_>,
    layout: &Layout,
    uses: &[(usize, Reference, usize)],
    function: usize,
) -> ResolveError {
    let program = context.selection.owner(function);
    let parts: BTreeSet<usize> = context
        .selection
        .programs
        .iter()
        .filter(|chosen| chosen.program.name == program)
        .flat_map(|chosen| chosen.layout.iter().map(|(function, _)| *function))
        .collect();
    let used: BTreeSet<&str> = uses
        .iter()
        .filter(|(function, ..)| parts.contains(function))
        .filter_map(|(.., symbol)| Some(context.elf.symbols.get(*symbol)?.name))
        .collect();
    let missing = layout.missing.iter().filter(|n| used.contains(n.as_str()));
    ResolveError::KconfigMissing {
        program,
        names: missing.cloned().collect(),
    }
}

fn declared<'c>(context: &'c Context<'_, '_>) -> BTreeMap<&'c str, Declared<'c>> {
    let weak = externs::weak(context.elf);
    let declared = context.btf.into_iter().flat_map(externs::declared);
    declared
        .map(|(kind, t)| {
            let target = t.target().and_then(|id| t.btf().get(id)?.resolved());
            let entry = Declared {
                kind,
                name: t.name(),
                weak: weak.get(t.name()).copied().unwrap_or(false),
                type_id: target.map_or(0, |t| t.id()),
            };
            (t.name(), entry)
        })
        .collect()
}

/// What an extern is called in the kernel's BTF: of functions the flavour is left out.
fn kernel_name(declared: &Declared<'_>) -> (Kind, String) {
    match declared.kind {
        ExternKind::Kfunc => {
            let name = btf::essential(declared.name.as_bytes());
            (Kind::Func, String::from_utf8_lossy(name).into_owned())
        }
        _ => (Kind::Var, declared.name.to_owned()),
    }
}

fn search(
    context: &Context<'_, '_>,
    uses: &[(usize, Reference, usize)],
    declared: &BTreeMap<&str, Declared<'_>>,
) -> BTreeMap<String, Found> {
    let Some(targets) = context.request.target.kernel() else {
        return BTreeMap::new();
    };
    let typed: Vec<&Declared<'_>> = uses
        .iter()
        .filter_map(|(_, _, symbol)| declared.get(context.elf.symbols.get(*symbol)?.name))
        .filter(|d| d.kind == ExternKind::Kfunc || d.kind == ExternKind::Ksym && d.type_id != 0)
        .collect();
    let wanted: Wanted = typed.iter().map(|d| kernel_name(d)).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let found = lookup::find(targets, &wanted);
    typed
        .iter()
        .filter_map(|d| Some((d.name.to_owned(), *found.get(&kernel_name(d))?)))
        .collect()
}

/// The instruction that refers to an extern.
struct Site<'s> {
    function: usize,
    reference: Reference,
    /// Number of the extern's symbol.
    number: usize,
    code: &'s mut [u8],
    endian: Endian,
}

impl Site<'_> {
    /// Puts a constant into a 64-bit load; `source` says what it means.
    fn load(&mut self, source: u8, low: u32, high: u32) {
        let at = self.reference.at;
        for (at, immediate, source) in [(at, low, Some(source)), (at + INSTRUCTION, high, None)] {
            if let Some(mut instruction) = Instruction::read(self.code, at, self.endian) {
                instruction.immediate = immediate.cast_signed();
                if let Some(source) = source {
                    instruction.source = source;
                }
                // It was read from there.
                let _ = instruction.write(self.code, at, self.endian);
            }
        }
    }

    fn call(&mut self, source: u8, offset: i16, immediate: i32) {
        let instruction = Instruction {
            code: CALL,
            source,
            offset,
            immediate,
            ..Instruction::default()
        };
        let _ = instruction.write(self.code, self.reference.at, self.endian);
    }
}

/// A symbol without a type: its address.
fn address(
    context: &Context<'_, '_>,
    declared: &Declared<'_>,
    site: &mut Site<'_>,
    settled: &mut Settled,
) -> Result<(), ResolveError> {
    let name = declared.name;
    match context.request.ksyms.get(name) {
        Some(0) => Err(ResolveError::AddressHidden {
            program: context.selection.owner(site.function),
            name: name.into(),
        }),
        Some(address) => {
            settled.holds_addresses = true;
            site.load(0, *address as u32, (address >> 32) as u32);
            Ok(())
        }
        None if declared.weak => {
            site.load(0, 0, 0);
            Ok(())
        }
        None => Err(ResolveError::SymbolMissing {
            program: context.selection.owner(site.function),
            what: "symbol",
            name: name.into(),
            detail: " in /proc/kallsyms".into(),
        }),
    }
}

/// A variable with a type, or a function: its id in the kernel's BTF.
fn typed(
    context: &Context<'_, '_>,
    declared: &Declared<'_>,
    found: Option<&Found>,
    site: &mut Site<'_>,
    settled: &mut Settled,
) -> Result<(), ResolveError> {
    let owner = || context.selection.owner(site.function);
    let is_function = declared.kind == ExternKind::Kfunc;
    let used = || match is_function {
        true => KernelBtfUse::Kfunc(declared.name.into()),
        false => KernelBtfUse::Ksym(declared.name.into()),
    };
    let missing = |detail: &str| ResolveError::SymbolMissing {
        program: owner(),
        what: if is_function { "function" } else { "variable" },
        name: declared.name.into(),
        detail: detail.into(),
    };
    if site.reference.call && !is_function {
        return Err(missing(" as a function"));
    }
    let kernel = context.request.target.kernel();
    if kernel.is_none() && !declared.weak {
        return Err(ResolveError::NeedsKernelBtf {
            program: owner(),
            used: used(),
            supplied: matches!(context.request.target, Target::Supplied(_)),
        });
    }
    let fits = kernel.zip(found).map(|(targets, found)| {
        let btf = found
            .module
            .map_or(Some(targets.kernel), |m| targets.modules.get(m).map(|m| &m.btf));
        let local = context.btf.filter(|_| declared.type_id != 0);
        btf.zip(local).is_some_and(|(btf, local)| {
            let target = btf.get(found.id).and_then(|t| btf.get(t.target()?)?.resolved());
            target.is_some_and(|t| co_re::types_compatible(local, declared.type_id, btf, t.id()))
        })
    });
    match (found, fits) {
        (Some(found), Some(true)) => {
            let module = match found.module {
                None => 0,
                Some(index) => module_number(settled, index, owner)?,
            };
            settled.holds_addresses = true;
            settled.kernel_btf.entry(site.function).or_insert_with(used);
            if module != 0 {
                let modules = settled.used_modules.entry(site.function).or_default();
                if !modules.contains(&module) {
                    modules.push(module);
                }
            }
            if site.reference.call {
                // A module's number was checked to fit.
                site.call(PSEUDO_KFUNC_CALL, module as i16, found.id.cast_signed());
            } else {
                site.load(PSEUDO_BTF_ID, found.id, module);
            }
        }
        // Of another type a weak function counts as missing, so that one of several flavours fits. A
        // variable of another type is the object's mistake.
        (Some(_), Some(false)) if !(declared.weak && is_function) => {
            return Err(missing(" of the type that the object declares"));
        }
        _ if !declared.weak => return Err(missing("")),
        _ if site.reference.call => {
            let number = i32::try_from(site.number % 1_000_000).unwrap_or(0);
            site.call(0, 0, POISON_KFUNC + number);
            settled.poisoned.push(Poison {
                function: site.function,
                at: site.reference.at,
                message: format!("kernel function {} does not exist in this kernel", declared.name),
            });
        }
        _ => site.load(0, 0, 0),
    }
    Ok(())
}

/// The number of a module's BTF among those that instructions refer to.
fn module_number(
    settled: &mut Settled,
    index: usize,
    owner: impl Fn() -> String,
) -> Result<u32, ResolveError> {
    /// Most BTF objects of one program: the kernel's `MAX_KFUNC_BTFS`.
    const LIMIT: usize = 255;
    let known = settled.modules.iter().position(|m| *m == index);
    let place = known.unwrap_or_else(|| {
        settled.modules.push(index);
        settled.modules.len() - 1
    });
    if place >= LIMIT {
        return Err(ResolveError::TooMany {
            program: owner(),
            what: "modules whose functions it calls",
            size: place + 1,
            limit: LIMIT,
        });
    }
    Ok(u32::try_from(place).unwrap_or(0) + 1)
}
