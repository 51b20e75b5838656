//! Ways to attach.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! attach_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// A way to attach a program.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum AttachKind { $($(#[doc = $doc])+ $variant,)+ }

        impl AttachKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in `attach/NAME`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, in a few words.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

attach_kinds! {
    /// Tracepoints, with their record.
    Tracepoint = "tracepoint";
    /// Tracepoints' raw arguments.
    RawTracepoint = "raw_tp";
    /// Tracepoints' typed arguments.
    BtfTracepoint = "tp_btf";
    /// Kernel functions by kprobe and kretprobe, through perf events (4.17).
    Kprobe = "kprobe";
    /// Many kernel functions in one link (5.18).
    KprobeMulti = "kprobe.multi";
    /// Entry and return of many kernel functions in one link (6.10).
    KprobeSession = "kprobe.session";
    /// Entry of kernel functions by trampoline.
    Fentry = "fentry";
    /// Exit of kernel functions by trampoline.
    Fexit = "fexit";
    /// Return values of kernel functions.
    FmodRet = "fmod_ret";
    /// Security hooks, with `bpf` among the kernel's active security modules.
    Lsm = "lsm";
    /// Security hooks of a cgroup (6.0).
    LsmCgroup = "lsm_cgroup";
    /// Functions of binaries, through perf events (4.17).
    Uprobe = "uprobe";
    /// Many places of a binary in one link (6.6).
    UprobeMulti = "uprobe.multi";
    /// Entry and return of many places of a binary in one link (6.13).
    UprobeSession = "uprobe.session";
    /// Counters and clocks.
    PerfEvent = "perf_event";
    /// Links of perf events, which keep kprobes, uprobes and tracepoints attached when the agent ends (5.15).
    PerfLink = "perf_link";
    /// A number of the user's for each place a program is attached to, which USDT arguments need (5.15).
    BpfCookie = "bpf_cookie";
    /// Programs of cgroups.
    Cgroup = "cgroup";
    /// Links of cgroup programs (5.7).
    CgroupLink = "cgroup_link";
    /// Links of XDP programs (5.9).
    XdpLink = "xdp_link";
    /// Traffic control without filters (6.6).
    Tcx = "tcx";
    /// netkit devices (6.7).
    Netkit = "netkit";
    /// Netfilter hooks (6.4).
    Netfilter = "netfilter";
    /// Network namespaces (5.8).
    Netns = "netns";
    /// Iterators over kernel objects (5.8).
    Iter = "iter";
    /// Links of struct_ops tables (6.4).
    StructOpsLink = "struct_ops_link";
}

impl fmt::Display for AttachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
