//! Where one program is attached: its SEC() and the hook's target together.

mod kernel;
mod network;
mod user;

use bpf_object::{ObjectInfo, Program, ProgramKind as K, SecTarget};
use bpfleet_crds::hook::{CgroupTarget, Direction, PerfEventTarget, Target, XdpMode};

use self::{
    kernel::{function, functions, lsm, raw_tracepoint, syscall, tracepoint},
    network::{interface, sock_map, tc},
    user::{perf_event, uprobe, usdt},
};
use crate::function::KernelFunction;

/// A place in the kernel, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A function of the kernel, or an instruction in it, by kprobe; entry or return as the program's kind says.
    Kprobe {
        /// Where.
        function: KernelFunction,
    },
    /// Functions of the kernel, in one link.
    Functions {
        /// Names, or patterns with `*` and `?`.
        functions: Vec<String>,
    },
    /// A system call's function, whatever the kernel calls it.
    Syscall {
        /// Name of the system call.
        name: String,
    },
    /// A function of the kernel, by trampoline: fentry, fexit or fmod_ret as the program's kind says.
    Trampoline {
        /// Which. Its offset is 0.
        function: KernelFunction,
    },
    /// A security hook.
    Lsm {
        /// Its name, such as `file_open`.
        hook: String,
    },
    /// A security hook of a cgroup.
    LsmCgroup {
        /// Its name.
        hook: String,
        /// Path of the cgroup below the root of the version 2 hierarchy.
        path: String,
    },
    /// A tracepoint with its record.
    Tracepoint {
        /// Subsystem, such as `sched`.
        category: String,
        /// Name, such as `sched_switch`.
        name: String,
    },
    /// A tracepoint's raw arguments.
    RawTracepoint {
        /// Name without category.
        name: String,
    },
    /// A tracepoint's typed arguments.
    BtfTracepoint {
        /// Name without category.
        name: String,
    },
    /// A function of a binary, entry or return as the program's kind says; several by pattern in one link for
    /// the `.multi` kinds.
    Uprobe {
        /// Absolute path in the host's file system.
        path: String,
        /// Function.
        symbol: Option<String>,
        /// Bytes from the function, or from the start of the file.
        offset: u64,
    },
    /// A statically defined probe of a binary.
    Usdt {
        /// Absolute path in the host's file system.
        path: String,
        /// Provider.
        provider: String,
        /// Name of the probe.
        name: String,
    },
    /// A sampled event on every CPU.
    PerfEvent(PerfEventTarget),
    /// The receive path of an interface.
    Xdp {
        /// Which interface.
        interface: InterfaceSelector,
        /// Where in the path.
        mode: XdpMode,
    },
    /// A TCX link, or a clsact filter where the kernel has no TCX.
    Tcx {
        /// Which interface.
        interface: InterfaceSelector,
        /// Which way.
        direction: Direction,
    },
    /// A clsact filter by netlink.
    TcFilter {
        /// Which interface.
        interface: InterfaceSelector,
        /// Which way.
        direction: Direction,
    },
    /// A cgroup of the version 2 hierarchy.
    Cgroup {
        /// Path below its root.
        path: String,
    },
    /// The sockets of a map of the same object.
    SockMap {
        /// Name of the map.
        map: String,
    },
    /// The host's network namespace.
    NetworkNamespace,
    /// Nowhere: read by opening its pin.
    Iter {
        /// What it walks, such as `task`.
        kind: String,
    },
}

/// A network interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceSelector {
    /// By name.
    Name(String),
    /// The one that the default route leaves through.
    DefaultRoute,
}

/// Iterators that need a parameter which this version has no field for.
const PARAMETRIC_ITERATORS: [&str; 2] = ["bpf_map_elem", "bpf_sk_storage_map"];

/// Where `program` goes; the error says what is wrong and shows what to write.
pub(crate) fn attach(
    object: &ObjectInfo,
    program: &Program,
    target: Option<&Target>,
) -> Result<Attach, String> {
    if let Some((given, wanted)) = wrong_member(program.kind, target) {
        return Err(match wanted {
            Some(wanted) => format!(
                "target.{given} does not fit program {} of kind {}; give target.{wanted}",
                program.name, program.kind
            ),
            None => format!(
                "target.{given} does not fit program {} of kind {}, which takes no target; remove it",
                program.name, program.kind
            ),
        });
    }
    let target = target.cloned().unwrap_or_default();
    match program.kind {
        K::Kprobe | K::Kretprobe => {
            function(program, target.function).map(|function| Attach::Kprobe { function })
        }
        K::KprobeMulti | K::KretprobeMulti | K::KprobeSession => functions(program, target.functions),
        K::Ksyscall | K::Kretsyscall => syscall(program, target.syscall),
        K::Fentry | K::Fexit | K::FmodRet => {
            function(program, target.function).map(|function| Attach::Trampoline { function })
        }
        K::Lsm => lsm(program, target.lsm_hook).map(|hook| Attach::Lsm { hook }),
        K::LsmCgroup => lsm(program, None).map(|hook| Attach::LsmCgroup {
            hook,
            path: cgroup_path(target.cgroup),
        }),
        K::Tracepoint => tracepoint(program, target.tracepoint),
        K::RawTracepoint { .. } => {
            raw_tracepoint(program, target.raw_tracepoint).map(|name| Attach::RawTracepoint { name })
        }
        K::BtfTracepoint => {
            raw_tracepoint(program, target.raw_tracepoint).map(|name| Attach::BtfTracepoint { name })
        }
        K::Uprobe | K::Uretprobe | K::UprobeMulti | K::UretprobeMulti | K::UprobeSession => {
            uprobe(program, target.binary)
        }
        K::Usdt => usdt(program, target.usdt),
        K::PerfEvent => perf_event(program, target.perf_event).map(Attach::PerfEvent),
        K::Xdp { .. } => {
            let (interface, given) = interface(program, target.interface)?;
            if given.direction.is_some() {
                return Err(
                    "interface.direction is for tc and tcx programs; XDP sees received packets".to_owned(),
                );
            }
            Ok(Attach::Xdp {
                interface,
                mode: given.xdp_mode.unwrap_or(XdpMode::Auto),
            })
        }
        K::SchedCls { kind, direction } => tc(program, kind, direction, target.interface),
        K::SkMsg | K::SkSkb(_) => sock_map(object, program, target.sock_map),
        K::SkLookup => Ok(Attach::NetworkNamespace),
        K::Iter => match &program.target {
            SecTarget::Name(kind) if PARAMETRIC_ITERATORS.contains(&kind.as_str()) => Err(format!(
                "iter/{kind} walks one map, and bpfleet has no field to name it; walk another object"
            )),
            SecTarget::Name(kind) => Ok(Attach::Iter { kind: kind.clone() }),
            _ => Err(format!(
                "program {} says SEC(\"{}\"): write SEC(\"iter/task\") or another iterator",
                program.name, program.section
            )),
        },
        K::CgroupSkb { direction: None } => Err(format!(
            "program {} says SEC(\"{}\") and thus no direction: write SEC(\"cgroup_skb/ingress\") or \
             SEC(\"cgroup_skb/egress\")",
            program.name, program.section
        )),
        _ => Ok(Attach::Cgroup {
            path: cgroup_path(target.cgroup),
        }),
    }
}

fn cgroup_path(given: Option<CgroupTarget>) -> String {
    given.map_or_else(|| "/".to_owned(), |CgroupTarget { path }| path)
}

/// The target's member if it is not the one this kind takes, and the one it takes.
fn wrong_member(kind: K, target: Option<&Target>) -> Option<(&'static str, Option<&'static str>)> {
    let wanted = match kind {
        K::Kprobe | K::Kretprobe | K::Fentry | K::Fexit | K::FmodRet => Some("function"),
        K::KprobeMulti | K::KretprobeMulti | K::KprobeSession => Some("functions"),
        K::Ksyscall | K::Kretsyscall => Some("syscall"),
        K::Lsm => Some("lsmHook"),
        K::Tracepoint => Some("tracepoint"),
        K::RawTracepoint { .. } | K::BtfTracepoint => Some("rawTracepoint"),
        K::Uprobe | K::Uretprobe | K::UprobeMulti | K::UretprobeMulti | K::UprobeSession => Some("binary"),
        K::Usdt => Some("usdt"),
        K::PerfEvent => Some("perfEvent"),
        K::Xdp { .. } | K::SchedCls { .. } => Some("interface"),
        K::SkMsg | K::SkSkb(_) => Some("sockMap"),
        K::SkLookup | K::Iter => None,
        _ => Some("cgroup"),
    };
    let Target {
        function,
        functions,
        syscall,
        lsm_hook,
        tracepoint,
        raw_tracepoint,
        interface,
        cgroup,
        binary,
        usdt,
        perf_event,
        sock_map,
    } = target?;
    let given = [
        ("function", function.is_some()),
        ("functions", functions.is_some()),
        ("syscall", syscall.is_some()),
        ("lsmHook", lsm_hook.is_some()),
        ("tracepoint", tracepoint.is_some()),
        ("rawTracepoint", raw_tracepoint.is_some()),
        ("interface", interface.is_some()),
        ("cgroup", cgroup.is_some()),
        ("binary", binary.is_some()),
        ("usdt", usdt.is_some()),
        ("perfEvent", perf_event.is_some()),
        ("sockMap", sock_map.is_some()),
    ];
    given
        .into_iter()
        .find(|(name, set)| *set && Some(*name) != wanted)
        .map(|(name, _)| (name, wanted))
}

fn needs(program: &Program, member: &str, what: &str, example: &str) -> String {
    format!(
        "program {} of kind {} does not say {what}: give target.{member}, as in \
         `hooks: [{{name: {}, anyOf: [{{program: {}, target: {{{example}}}}}]}}]`",
        program.name,
        program.kind,
        program.name.to_lowercase().replace('_', "-"),
        program.name
    )
}
