//! Types of programs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! program_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// `enum bpf_prog_type` of include/uapi/linux/bpf.h.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ProgramType { $($(#[doc = $doc])+ $variant,)+ }

        impl ProgramType {
            /// All, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The kernel's name in lower case, without `BPF_PROG_TYPE_`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The kernel's number.
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)+ }
            }
        }
    };
}

program_types! {
    /// Packets of one socket.
    SocketFilter = 1, "socket_filter";
    /// Functions of the kernel and of binaries.
    Kprobe = 2, "kprobe";
    /// Packets at traffic control.
    SchedCls = 3, "sched_cls";
    /// Actions of traffic control.
    SchedAct = 4, "sched_act";
    /// Tracepoints with their record.
    Tracepoint = 5, "tracepoint";
    /// Packets at a driver.
    Xdp = 6, "xdp";
    /// Counters and clocks.
    PerfEvent = 7, "perf_event";
    /// Packets of a cgroup.
    CgroupSkb = 8, "cgroup_skb";
    /// Sockets of a cgroup.
    CgroupSock = 9, "cgroup_sock";
    /// Lightweight tunnels, input.
    LwtIn = 10, "lwt_in";
    /// Lightweight tunnels, output.
    LwtOut = 11, "lwt_out";
    /// Lightweight tunnels, transmit.
    LwtXmit = 12, "lwt_xmit";
    /// TCP events of a cgroup.
    SockOps = 13, "sock_ops";
    /// Data received by sockets of a sockmap.
    SkSkb = 14, "sk_skb";
    /// Devices of a cgroup.
    CgroupDevice = 15, "cgroup_device";
    /// Messages sent by sockets of a sockmap.
    SkMsg = 16, "sk_msg";
    /// Tracepoints' raw arguments.
    RawTracepoint = 17, "raw_tracepoint";
    /// Addresses in socket calls of a cgroup.
    CgroupSockAddr = 18, "cgroup_sock_addr";
    /// Lightweight tunnels, local segment routing.
    LwtSeg6local = 19, "lwt_seg6local";
    /// Infrared remote controls.
    LircMode2 = 20, "lirc_mode2";
    /// Sockets that share a port.
    SkReuseport = 21, "sk_reuseport";
    /// Flow dissection.
    FlowDissector = 22, "flow_dissector";
    /// Sysctls of a cgroup.
    CgroupSysctl = 23, "cgroup_sysctl";
    /// Tracepoints' raw arguments, to be written to.
    RawTracepointWritable = 24, "raw_tracepoint_writable";
    /// Socket options of a cgroup.
    CgroupSockopt = 25, "cgroup_sockopt";
    /// fentry, fexit, fmod_ret, tp_btf and iter.
    Tracing = 26, "tracing";
    /// Tables of kernel operations.
    StructOps = 27, "struct_ops";
    /// Functions of other programs.
    Ext = 28, "ext";
    /// Security hooks.
    Lsm = 29, "lsm";
    /// Socket lookup.
    SkLookup = 30, "sk_lookup";
    /// Run on demand.
    Syscall = 31, "syscall";
    /// Netfilter.
    Netfilter = 32, "netfilter";
}

impl fmt::Display for ProgramType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
