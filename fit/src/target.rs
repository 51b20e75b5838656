//! Where one program is attached: its SEC() and the hook's target together.

use bpf_object::{Direction as SecDirection, ObjectInfo, Program, ProgramKind as K, SecTarget, TcKind};
use bpfleet_crds::hook::{
    BinaryTarget, CgroupTarget, Direction, InterfaceTarget, PerfEventTarget, SockMapTarget, Target, XdpMode,
};

/// Map types of `enum bpf_map_type` (include/uapi/linux/bpf.h) that hold sockets.
const BPF_MAP_TYPE_SOCKMAP: u32 = 15;
const BPF_MAP_TYPE_SOCKHASH: u32 = 18;

/// A place in the kernel, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
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
    /// A function of a binary; entry or return as the program's kind says.
    Uprobe {
        /// Absolute path in the host's file system.
        path: String,
        /// Function.
        symbol: Option<String>,
        /// Bytes from the function, or from the start of the file.
        offset: u64,
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
        K::Tracepoint => tracepoint(program, target.tracepoint),
        K::RawTracepoint { .. } => {
            raw_tracepoint(program, target.raw_tracepoint).map(|name| Attach::RawTracepoint { name })
        }
        K::BtfTracepoint => {
            raw_tracepoint(program, target.raw_tracepoint).map(|name| Attach::BtfTracepoint { name })
        }
        K::Uprobe | K::Uretprobe => uprobe(program, target.binary),
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
            path: target
                .cgroup
                .map_or_else(|| "/".to_owned(), |CgroupTarget { path }| path),
        }),
    }
}

/// The target's member if it is not the one this kind takes, and the one it takes.
fn wrong_member(kind: K, target: Option<&Target>) -> Option<(&'static str, Option<&'static str>)> {
    let wanted = match kind {
        K::Tracepoint => Some("tracepoint"),
        K::RawTracepoint { .. } | K::BtfTracepoint => Some("rawTracepoint"),
        K::Uprobe | K::Uretprobe => Some("binary"),
        K::PerfEvent => Some("perfEvent"),
        K::Xdp { .. } | K::SchedCls { .. } => Some("interface"),
        K::SkMsg | K::SkSkb(_) => Some("sockMap"),
        K::SkLookup | K::Iter => None,
        _ => Some("cgroup"),
    };
    let Target {
        tracepoint,
        raw_tracepoint,
        interface,
        cgroup,
        binary,
        perf_event,
        sock_map,
        ..
    } = target?;
    let given = [
        ("tracepoint", tracepoint.is_some()),
        ("rawTracepoint", raw_tracepoint.is_some()),
        ("interface", interface.is_some()),
        ("cgroup", cgroup.is_some()),
        ("binary", binary.is_some()),
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

fn tracepoint(program: &Program, given: Option<String>) -> Result<Attach, String> {
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

fn raw_tracepoint(program: &Program, given: Option<String>) -> Result<String, String> {
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

fn uprobe(program: &Program, given: Option<BinaryTarget>) -> Result<Attach, String> {
    const EXAMPLE: &str = "binary: {path: /usr/lib/x86_64-linux-gnu/libc.so.6, symbol: malloc}";
    match (given, &program.target) {
        (Some(BinaryTarget { path, symbol, offset }), _) => {
            // The API server checks these too; local mode has none.
            if !path.starts_with('/') {
                return Err(format!("binary.path {path:?} is not absolute, as in `{EXAMPLE}`"));
            }
            if symbol.is_none() && offset.is_none() {
                return Err("set binary.symbol, binary.offset, or both".to_owned());
            }
            let offset =
                u64::try_from(offset.unwrap_or(0)).map_err(|_| "binary.offset is negative".to_owned())?;
            Ok(Attach::Uprobe { path, symbol, offset })
        }
        (None, SecTarget::Binary { path, symbol, offset }) if path.starts_with('/') => Ok(Attach::Uprobe {
            path: path.clone(),
            symbol: (!symbol.is_empty()).then(|| symbol.clone()),
            offset: *offset,
        }),
        (None, SecTarget::Binary { path, .. }) => Err(format!(
            "program {} names the binary {path:?} without its directory, which differs between nodes: give \
             target.binary with an absolute path, as in `{EXAMPLE}`",
            program.name
        )),
        (None, _) => Err(needs(program, "binary", "which function", EXAMPLE)),
    }
}

fn perf_event(program: &Program, given: Option<PerfEventTarget>) -> Result<PerfEventTarget, String> {
    const EXAMPLE: &str = "perfEvent: {event: CpuClock, sampleFrequency: 49}";
    let given = given.ok_or_else(|| needs(program, "perfEvent", "which event to sample", EXAMPLE))?;
    if given.sample_frequency.is_some() == given.sample_period.is_some() {
        return Err(format!(
            "set exactly one of perfEvent.sampleFrequency and perfEvent.samplePeriod, as in `{EXAMPLE}`"
        ));
    }
    Ok(given)
}

fn interface(
    program: &Program,
    given: Option<InterfaceTarget>,
) -> Result<(InterfaceSelector, InterfaceTarget), String> {
    let given = given.ok_or_else(|| {
        needs(
            program,
            "interface",
            "which interface",
            "interface: {defaultRoute: true}",
        )
    })?;
    let selector = match (&given.name, given.default_route.unwrap_or(false)) {
        (Some(name), false) => InterfaceSelector::Name(name.clone()),
        (None, true) => InterfaceSelector::DefaultRoute,
        _ => return Err("set interface.name, or interface.defaultRoute: true, and not both".to_owned()),
    };
    Ok((selector, given))
}

fn tc(
    program: &Program,
    kind: TcKind,
    section: Option<SecDirection>,
    given: Option<InterfaceTarget>,
) -> Result<Attach, String> {
    let (interface, given) = interface(program, given)?;
    if given.xdp_mode.is_some() {
        return Err("interface.xdpMode is for xdp programs".to_owned());
    }
    let section = section.map(|direction| match direction {
        SecDirection::Ingress => Direction::Ingress,
        SecDirection::Egress => Direction::Egress,
    });
    let direction = match (given.direction, section) {
        (Some(given), Some(section)) if given != section => {
            return Err(format!(
                "interface.direction {given:?} contradicts SEC(\"{}\") of program {}; remove one of them",
                program.section, program.name
            ));
        }
        (given, section) => given.or(section).ok_or_else(|| {
            format!(
                "program {} says SEC(\"{}\") and thus no direction: give interface.direction, Ingress or Egress",
                program.name, program.section
            )
        })?,
    };
    Ok(match kind {
        TcKind::Tcx => Attach::Tcx { interface, direction },
        _ => Attach::TcFilter { interface, direction },
    })
}

fn sock_map(object: &ObjectInfo, program: &Program, given: Option<SockMapTarget>) -> Result<Attach, String> {
    let holds_sockets = |map_type: u32| matches!(map_type, BPF_MAP_TYPE_SOCKMAP | BPF_MAP_TYPE_SOCKHASH);
    let candidates: Vec<&str> = object
        .maps
        .iter()
        .filter(|map| holds_sockets(map.map_type))
        .map(|map| map.name.as_str())
        .collect();
    let name = match (given, candidates.as_slice()) {
        (Some(SockMapTarget { map }), _) => map,
        (None, [only]) => (*only).to_owned(),
        (None, []) => {
            return Err(format!(
                "program {} needs a map of type SOCKMAP or SOCKHASH in its object",
                program.name
            ));
        }
        (None, several) => {
            return Err(format!(
                "program {} can go to several maps ({}): name one in target.sockMap.map",
                program.name,
                several.join(", ")
            ));
        }
    };
    match object.map(&name) {
        None => Err(format!(
            "the object has no map {name}; maps that hold sockets: {}",
            candidates.join(", ")
        )),
        Some(map) if !holds_sockets(map.map_type) => Err(format!(
            "map {name} is of type {}, not SOCKMAP or SOCKHASH; maps that hold sockets: {}",
            map.type_name(),
            candidates.join(", ")
        )),
        Some(_) => Ok(Attach::SockMap { map: name }),
    }
}
