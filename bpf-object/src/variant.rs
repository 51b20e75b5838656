//! Variants within program kinds.

use std::fmt;

/// Direction of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards this machine or interface.
    Ingress,
    /// Away from it.
    Egress,
}

/// Which spelling a traffic control program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TcKind {
    /// `tc`, `classifier`, `tc/ingress`, `tc/egress`: any way of attaching.
    Classifier,
    /// `tcx/ingress`, `tcx/egress`: a TCX link.
    Tcx,
    /// `action`: an action of a netlink filter (BPF_PROG_TYPE_SCHED_ACT).
    Action,
}

/// Which end of a netkit pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetkitSide {
    /// The primary device.
    Primary,
    /// Its peer.
    Peer,
}

/// Where an XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XdpAttach {
    /// On an interface.
    Interface,
    /// As an entry of a DEVMAP.
    Devmap,
    /// As an entry of a CPUMAP.
    Cpumap,
}

/// Event of a cgroup socket program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SockHook {
    /// A socket is created.
    Create,
    /// A socket is released.
    Release,
    /// After an IPv4 bind.
    PostBind4,
    /// After an IPv6 bind.
    PostBind6,
}

/// Socket call that a cgroup address program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SockAddrHook {
    /// `bind(2)`.
    Bind,
    /// `connect(2)`.
    Connect,
    /// Datagrams sent without a connection.
    Sendmsg,
    /// Datagrams received without a connection.
    Recvmsg,
    /// `getpeername(2)`.
    Getpeername,
    /// `getsockname(2)`.
    Getsockname,
}

/// Address family of a cgroup address program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddrFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Unix domain.
    Unix,
}

/// Which socket option call a cgroup program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SockoptHook {
    /// `getsockopt(2)`.
    Get,
    /// `setsockopt(2)`.
    Set,
}

/// Part of a stream parser attached to a sockmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkSkbKind {
    /// Finds message boundaries.
    StreamParser,
    /// Decides on each message of a parsed stream.
    StreamVerdict,
    /// Decides on each buffer, without a parser.
    Verdict,
    /// `sk_skb` alone: the section does not say.
    Any,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        })
    }
}
