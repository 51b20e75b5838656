//! [`LoadPlan`](crate::LoadPlan)'s parts from what was found out.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::code::Code;
use crate::instruction::INSTRUCTION;
use crate::resolve::attach::syscall_function;
use crate::resolve::core::Poison;
use crate::resolve::error::ResolveError;
use crate::resolve::externs::Settled;
use crate::resolve::names::loading;
use crate::resolve::plan::{AttachBtf, KernelBtfUse, Loader, OwnReason, Poisoned, ProgramPlan};
use crate::resolve::request::Request;
use crate::resolve::select::Chosen;

/// Most poisoned instructions of all programs: many may share the functions that they are in, and each
/// says its own.
const MAX_POISONED: usize = 16_384;

/// What was found out about the functions, from which each program's plan is made.
pub(crate) struct Needs<'n> {
    pub(crate) attach: BTreeMap<String, AttachBtf>,
    /// Numbers of the members that functions of tables are put into, by program.
    pub(crate) members: BTreeMap<String, u32>,
    pub(crate) poisoned: Vec<Poison>,
    pub(crate) relocated: BTreeMap<usize, KernelBtfUse>,
    pub(crate) settled: &'n Settled,
    /// How many poisoned instructions the plans list so far.
    pub(crate) listed: Cell<usize>,
}

impl Needs<'_> {
    pub(crate) fn plan(
        &self,
        chosen: &Chosen<'_>,
        request: &Request<'_>,
        code: &Code<'_>,
    ) -> Result<ProgramPlan, ResolveError> {
        let program = chosen.program;
        let loading = loading(program.kind, program.sleepable).ok_or_else(|| ResolveError::UnknownKind {
            program: program.name.clone(),
            section: program.section.clone(),
        })?;
        let attach = self.attach.get(&program.name).cloned();
        let mut modules: Vec<u32> = Vec::new();
        let mut kernel_btf = program
            .kind
            .needs_kernel_btf()
            .then_some(KernelBtfUse::Kind(program.kind));
        let starts: BTreeMap<usize, u32> = chosen.layout.iter().rev().copied().collect();
        for (function, _) in &chosen.layout {
            modules.extend(self.settled.used_modules.get(function).into_iter().flatten());
            let used = self
                .relocated
                .get(function)
                .or(self.settled.kernel_btf.get(function));
            kernel_btf = kernel_btf.or_else(|| used.cloned());
        }
        modules.sort_unstable();
        modules.dedup();
        let ours = self.poisoned.iter().filter(|p| starts.contains_key(&p.function));
        let count = ours.clone().count();
        if self.listed.get() + count > MAX_POISONED {
            return Err(ResolveError::TooMany {
                program: program.name.clone(),
                what: "instructions for what this kernel does not have, with those of programs before it",
                size: self.listed.get() + count,
                limit: MAX_POISONED,
            });
        }
        self.listed.set(self.listed.get() + count);
        let mut poisoned: Vec<Poisoned> = ours
            .filter_map(|poison| {
                let start = starts.get(&poison.function)?;
                Some(Poisoned {
                    instruction: start.saturating_add(u32::try_from(poison.at / INSTRUCTION).ok()?),
                    function: code.functions.get(poison.function)?.name.to_owned(),
                    message: poison.message.clone(),
                })
            })
            .collect();
        poisoned.sort_by_key(|p| p.instruction);
        let own = match (&attach, loading.own) {
            (_, Some(reason)) => Some(reason),
            _ if !modules.is_empty() => Some(OwnReason::ModuleBtf),
            (Some(AttachBtf { module: Some(_), .. }), _) => Some(OwnReason::ModuleTarget),
            _ => None,
        };
        Ok(ProgramPlan {
            name: program.name.clone(),
            section: program.section.clone(),
            kind: program.kind,
            target: program.target.clone(),
            program_type: loading.program_type,
            expected_attach_type: self
                .members
                .get(&program.name)
                .copied()
                .unwrap_or(loading.attach_type),
            flags: loading.flags,
            attach,
            syscall_function: syscall_function(program, request)?,
            loader: own.map_or(Loader::Aya, Loader::Own),
            wanted: chosen.wanted,
            poisoned,
            modules,
            needs_kernel_btf: kernel_btf,
        })
    }
}
