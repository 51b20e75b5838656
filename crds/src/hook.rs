//! Hooks: which program of an object goes where in the kernel.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One place in the kernel that the BpfProgram needs.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Name of the hook, unique in the BpfProgram; status and pin paths use it.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The ways to serve this hook, best first. A node uses the first that its kernel can attach; one that
    /// passes every check and then fails is followed by the next. Programs that no hook uses are not loaded.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub any_of: Vec<HookAlternative>,
    /// True: a node that can serve the hook in none of these ways runs the program without it, and says so
    /// in its BpfNode. Default false: such a node does not run the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// One way to serve a hook.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookAlternative {
    /// Name of the program: the C function's name.
    #[schemars(length(min = 1, max = 255))]
    pub program: String,
    /// Where to attach it. Absent: where the program's SEC() says. Network programs (xdp, tc, tcx) always
    /// need target.interface, sk_msg and sk_skb target.sockMap, perf_event target.perfEvent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// A place in the kernel: exactly one of the members, the one that the kind of program needs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("[has(self.function), has(self.functions), has(self.syscall), has(self.lsmHook), has(self.tracepoint), has(self.rawTracepoint), has(self.interface), has(self.cgroup), has(self.binary), has(self.usdt), has(self.perfEvent), has(self.sockMap)].filter(x, x).size() == 1").message("set exactly one member of target: function, functions, syscall, lsmHook, tracepoint, rawTracepoint, interface, cgroup, binary, usdt, perfEvent or sockMap"))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// For kprobe, kretprobe, fentry, fexit and fmod_ret programs: a function of the kernel, such as
    /// `do_unlinkat`; with its module in front where several have one of this name, as in
    /// `nf_conntrack:nf_conntrack_in`; for kprobe programs with an offset behind it, as in `do_exit+0x10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^([A-Za-z0-9_-]+:)?[A-Za-z0-9_.$]+(\+(0x[0-9a-fA-F]+|[0-9]+))?$")
    )]
    pub function: Option<String>,
    /// For kprobe.multi, kretprobe.multi and kprobe.session programs: functions of the kernel, each a name or
    /// a pattern with `*` and `?`, such as `tcp_v4_*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 127), regex(pattern = r"^[A-Za-z0-9_.$*?]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub functions: Option<Vec<String>>,
    /// For ksyscall and kretsyscall programs: a system call, such as `openat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9_]+$"))]
    pub syscall: Option<String>,
    /// For lsm programs: a security hook, such as `file_open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9_]+$"))]
    pub lsm_hook: Option<String>,
    /// For tracepoint programs: `category/name`, such as `sched/sched_switch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 3, max = 255),
        regex(pattern = r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    )]
    pub tracepoint: Option<String>,
    /// For raw_tp and tp_btf programs: the tracepoint's name without category, such as `sched_switch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127), regex(pattern = r"^[A-Za-z0-9_]+$"))]
    pub raw_tracepoint: Option<String>,
    /// For xdp, tc and tcx programs: a network interface of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceTarget>,
    /// For cgroup programs and sock_ops: a cgroup of the version 2 hierarchy. Absent: its root, that is all
    /// processes of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupTarget>,
    /// For uprobe and uretprobe programs: a function in an executable or library of the host. For uprobe.multi,
    /// uretprobe.multi and uprobe.session programs `symbol` may be a pattern with `*` and `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<BinaryTarget>,
    /// For usdt programs: a statically defined probe in an executable or library of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usdt: Option<UsdtTarget>,
    /// For perf_event programs: the event to sample, on every CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perf_event: Option<PerfEventTarget>,
    /// For sk_msg and sk_skb programs: a SOCKMAP or SOCKHASH of the same object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sock_map: Option<SockMapTarget>,
}

/// A network interface of the host.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.name) != (has(self.defaultRoute) && self.defaultRoute)").message("set interface.name, or interface.defaultRoute: true, and not both"))]
#[serde(rename_all = "camelCase")]
pub struct InterfaceTarget {
    /// Name of the interface, such as `eth0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[^/\s]+$"))]
    pub name: Option<String>,
    /// True: the interface that the node's default IPv4 route (otherwise IPv6 route) leaves through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// For tc and tcx programs: which way the packets go. Absent: what SEC() says; required if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// For xdp programs: where in the receive path to run. Default Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_mode: Option<XdpMode>,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// Packets that the interface receives.
    Ingress,
    /// Packets that the interface sends.
    Egress,
}

/// Where in the receive path an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum XdpMode {
    /// In the driver where it can, otherwise generic: the kernel's own choice.
    Auto,
    /// In the driver; refused if the driver has no XDP.
    Driver,
    /// In the network stack, after the driver: works everywhere and is slower.
    Generic,
}

/// A cgroup of the version 2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CgroupTarget {
    /// Path below the root of the hierarchy, such as `/kubepods.slice`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
}

/// A function in an executable or library of the host.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.symbol) || has(self.offset)").message("set binary.symbol, binary.offset, or both (offset then counts from the symbol)"))]
#[serde(rename_all = "camelCase")]
pub struct BinaryTarget {
    /// Absolute path in the host's file system.
    #[schemars(length(min = 2, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
    /// Name of a function in its symbol table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub symbol: Option<String>,
    /// Bytes from the symbol, or from the start of the file if there is no symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub offset: Option<i64>,
}

/// A statically defined probe (USDT) in an executable or library of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsdtTarget {
    /// Absolute path in the host's file system.
    #[schemars(length(min = 2, max = 1024), regex(pattern = r"^/"))]
    pub path: String,
    /// Provider of the probe, such as `hotspot`.
    #[schemars(length(min = 1, max = 127))]
    pub provider: String,
    /// Name of the probe, such as `gc__begin`.
    #[schemars(length(min = 1, max = 127))]
    pub name: String,
}

/// The event that a perf_event program samples.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.sampleFrequency) != has(self.samplePeriod)").message("set exactly one of perfEvent.sampleFrequency and perfEvent.samplePeriod"))]
#[serde(rename_all = "camelCase")]
pub struct PerfEventTarget {
    /// Which event.
    pub event: PerfEvent,
    /// Samples a second on each CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub sample_frequency: Option<i64>,
    /// Events from one sample to the next (nanoseconds for the clocks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub sample_period: Option<i64>,
}

/// Events of perf_event_open(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PerfEvent {
    /// Software: time of the CPU.
    CpuClock,
    /// Software: time of the running task.
    TaskClock,
    /// Software: page faults.
    PageFaults,
    /// Software: context switches.
    ContextSwitches,
    /// Software: tasks that moved to another CPU.
    CpuMigrations,
    /// Hardware: cycles.
    CpuCycles,
    /// Hardware: instructions.
    Instructions,
    /// Hardware: cache references.
    CacheReferences,
    /// Hardware: cache misses.
    CacheMisses,
    /// Hardware: branch instructions.
    BranchInstructions,
    /// Hardware: mispredicted branches.
    BranchMisses,
}

/// A SOCKMAP or SOCKHASH of the same object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SockMapTarget {
    /// Name of the map.
    #[schemars(length(min = 1, max = 255))]
    pub map: String,
}
