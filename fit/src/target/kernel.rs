//! Functions, hooks and tracepoints of the kernel.

use bpf_object::{Program, ProgramKind as K, SecTarget};

use super::{Attach, needs};
use crate::function::KernelFunction;

/// Most functions or patterns that SEC() gives; the API's bound for `target.functions` is the same.
const EXAMPLE_FUNCTION: &str = "function: do_unlinkat";

/// The function of a kprobe, fentry, fexit or fmod_ret program, or of the return of one.
pub(super) fn function(program: &Program, given: Option<String>) -> Result<KernelFunction, String> {
    let function = match (given, &program.target) {
        (Some(text), _) => text.parse().map_err(|why| format!("target.function {why}"))?,
        (None, SecTarget::Function { module, name, offset }) => KernelFunction {
            module: module.as_ref().map(|module| module.replace('-', "_")),
            name: name.clone(),
            offset: *offset,
        },
        (None, _) => return Err(needs(program, "function", "which function", EXAMPLE_FUNCTION)),
    };
    if function.offset > 0 && program.kind != K::Kprobe {
        return Err(format!(
            "program {} of kind {} is attached to {function}, and only kprobe programs can be attached at an offset; \
             remove it",
            program.name, program.kind
        ));
    }
    Ok(function)
}

/// The functions of a kprobe.multi program.
pub(super) fn functions(program: &Program, given: Option<Vec<String>>) -> Result<Attach, String> {
    let functions = match (given, &program.target) {
        (Some(functions), _) => functions,
        (None, SecTarget::FunctionPattern(pattern)) => vec![pattern.clone()],
        (None, _) => {
            return Err(needs(
                program,
                "functions",
                "which functions",
                "functions: [\"tcp_v4_*\"]",
            ));
        }
    };
    if functions.is_empty() || functions.iter().any(String::is_empty) {
        return Err("target.functions has an empty name".to_owned());
    }
    Ok(Attach::Functions { functions })
}

/// The system call of a ksyscall program.
pub(super) fn syscall(program: &Program, given: Option<String>) -> Result<Attach, String> {
    match (given, &program.target) {
        (Some(name), _) => Ok(Attach::Syscall { name }),
        (None, SecTarget::Syscall(name)) => Ok(Attach::Syscall { name: name.clone() }),
        (None, _) => Err(needs(program, "syscall", "which system call", "syscall: openat")),
    }
}

/// The security hook of an lsm program.
pub(super) fn lsm(program: &Program, given: Option<String>) -> Result<String, String> {
    match (given, &program.target) {
        (Some(hook), _) => Ok(hook),
        (None, SecTarget::Name(hook)) => Ok(hook.clone()),
        (None, _) => Err(needs(
            program,
            "lsmHook",
            "which security hook",
            "lsmHook: file_open",
        )),
    }
}

pub(super) fn tracepoint(program: &Program, given: Option<String>) -> Result<Attach, String> {
    let split = |text: &str| {
        text.split_once('/')
            .map(|(category, name)| (category.to_owned(), name.to_owned()))
    };
    match (given.as_deref(), &program.target) {
        (Some(text), _) => {
            split(text).ok_or_else(|| format!("target.tracepoint {text:?} is not category/name"))
        }
        (None, SecTarget::Tracepoint { category, name }) => Ok((category.clone(), name.clone())),
        (None, _) => Err(needs(
            program,
            "tracepoint",
            "which tracepoint",
            "tracepoint: sched/sched_switch",
        )),
    }
    .map(|(category, name)| Attach::Tracepoint { category, name })
}

pub(super) fn raw_tracepoint(program: &Program, given: Option<String>) -> Result<String, String> {
    match (given, &program.target) {
        (Some(name), _) => Ok(name),
        (None, SecTarget::Name(name)) => Ok(name.clone()),
        (None, _) => Err(needs(
            program,
            "rawTracepoint",
            "which tracepoint",
            "rawTracepoint: sched_switch",
        )),
    }
}
