//! Resolves objects against kernels made up in C, and links the result as aya does.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aya_obj::generated::bpf_insn;
use bpf_object::kconfig::{KconfigData, KconfigEntry};
use bpf_object::{AttachTo, MapSize, ProgramPlan, Request, ResolveError, Resolved, Target, resolve};
use btf::Btf;
use btf::co_re::{Module, Targets};

/// What a request is made of, with nothing in it.
#[derive(Default)]
pub struct Wish {
    pub kernel: Option<Btf<'static>>,
    pub modules: Vec<Module<'static>>,
    pub supplied: Option<Btf<'static>>,
    pub programs: Option<BTreeSet<String>>,
    pub attach: BTreeMap<String, AttachTo>,
    pub globals: BTreeMap<String, Vec<u8>>,
    pub kconfig: Option<KconfigData>,
    pub ksyms: BTreeMap<String, u64>,
    pub map_sizes: BTreeMap<String, MapSize>,
    pub syscall_prefix: Option<&'static str>,
}

impl Wish {
    /// Of a kernel of which nothing is known.
    pub fn nowhere() -> Self {
        Wish::default()
    }

    /// Of a kernel whose types are those of this C source.
    pub fn on(kernel: &str) -> Self {
        let btf = crate::common::btf_of(&crate::common::compile(kernel));
        Wish {
            kernel: Some(Btf::parse(btf).expect("clang's BTF")),
            ..Wish::default()
        }
    }

    /// These programs only.
    pub fn programs(mut self, names: &[&str]) -> Self {
        self.programs = Some(names.iter().map(|n| (*n).to_owned()).collect());
        self
    }

    pub fn resolve(&self, object: &[u8]) -> Result<Resolved, ResolveError> {
        let target = match (&self.kernel, &self.supplied) {
            (Some(kernel), _) => Target::Kernel(Targets {
                kernel,
                modules: &self.modules,
            }),
            (None, Some(supplied)) => Target::Supplied(supplied),
            _ => Target::None,
        };
        resolve(
            object,
            &Request {
                target,
                programs: self.programs.as_ref(),
                attach: &self.attach,
                globals: &self.globals,
                kconfig: self.kconfig.as_ref(),
                ksyms: &self.ksyms,
                map_sizes: &self.map_sizes,
                syscall_prefix: self.syscall_prefix,
            },
        )
    }

    /// Resolved, opened and linked.
    pub fn linked(&self, object: &[u8]) -> Linked {
        let resolved = self.resolve(object).unwrap_or_else(|e| panic!("{e}"));
        Linked::new(resolved)
    }

    /// The message of a refusal.
    pub fn refusal(&self, object: &[u8]) -> String {
        match self.resolve(object) {
            Err(e) => e.to_string(),
            Ok(_) => panic!("it was not refused"),
        }
    }
}

/// A resolved object as aya has it before it loads the programs. Map number n has descriptor 100 + n, by
/// their names.
pub struct Linked {
    pub resolved: Resolved,
    pub object: aya_obj::Object,
    pub maps: Vec<String>,
}

impl Linked {
    pub fn new(resolved: Resolved) -> Self {
        let mut object = aya_obj::Object::parse(&resolved.elf).unwrap_or_else(|e| panic!("aya: {e}: {e:?}"));
        assert!(!object.has_btf_relocations(), "CO-RE is done");
        let mut names: Vec<String> = object.maps.keys().cloned().collect();
        names.sort();
        let text = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect::<HashSet<_>>();
        let maps: Vec<_> = (100..)
            .zip(&names)
            .map(|(fd, n)| (n.clone(), fd, object.maps[n].clone()))
            .collect();
        let maps = maps.iter().map(|(name, fd, map)| (name.as_str(), *fd, map));
        let text = text.into_iter().collect();
        object
            .relocate_maps(maps, &text)
            .unwrap_or_else(|e| panic!("aya: {e:?}"));
        object
            .relocate_calls(&text)
            .unwrap_or_else(|e| panic!("aya: {e:?}"));
        let mut planned: Vec<_> = resolved.plan.programs.iter().map(|p| p.name.clone()).collect();
        let mut opened: Vec<_> = object.programs.keys().cloned().collect();
        planned.sort();
        opened.sort();
        assert_eq!(planned, opened, "plan and file have the same programs");
        Linked {
            resolved,
            object,
            maps: names,
        }
    }

    pub fn plan(&self, program: &str) -> &ProgramPlan {
        let plans = &self.resolved.plan.programs;
        plans
            .iter()
            .find(|p| p.name == program)
            .unwrap_or_else(|| panic!("no {program}"))
    }

    /// Instructions of a program, with its subprograms behind it.
    pub fn code(&self, program: &str) -> &[bpf_insn] {
        let program = self.object.programs.get(program).expect("the program is there");
        &self.object.functions[&program.function_key()].instructions
    }

    /// The descriptor of a map.
    pub fn fd(&self, map: &str) -> i32 {
        let place = self.maps.iter().position(|m| m == map).expect("the map is there");
        100 + i32::try_from(place).expect("few maps")
    }
}

/// Loads of 64-bit constants: what they mean (`src_reg`), and both immediates.
pub fn loads(code: &[bpf_insn]) -> Vec<(u8, i32, i32)> {
    code.windows(2)
        .filter(|pair| pair[0].code == 0x18)
        .map(|pair| (pair[0].src_reg(), pair[0].imm, pair[1].imm))
        .collect()
}

/// Calls: what they mean (`src_reg`), `off` and `imm`.
pub fn calls(code: &[bpf_insn]) -> Vec<(u8, i16, i32)> {
    code.iter()
        .filter(|i| i.code == 0x85)
        .map(|i| (i.src_reg(), i.off, i.imm))
        .collect()
}

/// Values of configuration externs: bytes, and of each name its offset and size.
pub fn kconfig(bytes: Vec<u8>, entries: &[(&str, u32, u32)]) -> KconfigData {
    KconfigData {
        bytes,
        entries: entries
            .iter()
            .map(|(name, offset, size)| KconfigEntry {
                name: (*name).to_owned(),
                offset: *offset,
                size: *size,
                is_set: true,
            })
            .collect(),
        shortened: Vec::new(),
    }
}
