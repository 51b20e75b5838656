//! What is attached without a link of the kernel, as a name that says how to find it again.

use std::fmt;

use bpfleet_crds::hook::Direction;

use crate::escape::{escape, unescape};

/// One attachment of a hook, as the name of a file or directory in the hook's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instance {
    /// A pinned link.
    Link(u32),
    /// The XDP link held for this interface.
    Xdp {
        /// Index of the interface.
        ifindex: u32,
        /// XDP_FLAGS_* of the mode it was attached in; a link keeps its mode.
        flags: u32,
    },
    /// A clsact filter, attached by netlink.
    TcFilter {
        /// Index of the interface.
        ifindex: u32,
        /// Which way.
        direction: TcDirection,
        /// Priority of the filter.
        priority: u16,
        /// Handle of the filter.
        handle: u32,
    },
    /// A program in a sockmap, attached by BPF_PROG_ATTACH.
    SockMap {
        /// Name of the map in the revision.
        map: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
    },
    /// A program in a cgroup, attached by BPF_PROG_ATTACH (before 5.7).
    Cgroup {
        /// Absolute path of the cgroup.
        path: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
    },
    /// A perf event that ends with the agent's process (before 5.15).
    Process(u32),
}

/// [`Direction`] with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcDirection {
    /// Received packets.
    Ingress,
    /// Sent packets.
    Egress,
}

impl From<Direction> for TcDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self::Ingress,
            Direction::Egress => Self::Egress,
        }
    }
}

/// Name of the pin of the hook's program, beside its instances.
pub const PROGRAM: &str = "program";

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(n) => write!(f, "link-{n}"),
            Self::Xdp { ifindex, flags } => write!(f, "xdp-{ifindex}-{flags}"),
            Self::TcFilter {
                ifindex,
                direction,
                priority,
                handle,
            } => {
                let direction = match direction {
                    TcDirection::Ingress => "ingress",
                    TcDirection::Egress => "egress",
                };
                write!(f, "tc-{ifindex}-{direction}-{priority}-{handle}")
            }
            Self::SockMap { map, attach_type } => {
                write!(
                    f,
                    "sockmap-{attach_type}-{}",
                    escape(map).map_err(|_| fmt::Error)?
                )
            }
            Self::Cgroup { path, attach_type } => {
                write!(
                    f,
                    "cgroup-{attach_type}-{}",
                    escape(path).map_err(|_| fmt::Error)?
                )
            }
            Self::Process(n) => write!(f, "process-{n}"),
        }
    }
}

impl Instance {
    /// Reads a name back; none if it is no instance.
    pub fn parse(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        match kind {
            "link" => rest.parse().ok().map(Self::Link),
            "process" => rest.parse().ok().map(Self::Process),
            "xdp" => {
                let (ifindex, flags) = rest.split_once('-')?;
                Some(Self::Xdp {
                    ifindex: ifindex.parse().ok()?,
                    flags: flags.parse().ok()?,
                })
            }
            "tc" => {
                let mut parts = rest.split('-');
                let instance = Self::TcFilter {
                    ifindex: parts.next()?.parse().ok()?,
                    direction: match parts.next()? {
                        "ingress" => TcDirection::Ingress,
                        "egress" => TcDirection::Egress,
                        _ => return None,
                    },
                    priority: parts.next()?.parse().ok()?,
                    handle: parts.next()?.parse().ok()?,
                };
                parts.next().is_none().then_some(instance)
            }
            "sockmap" | "cgroup" => {
                let (attach_type, name) = rest.split_once('-')?;
                let (attach_type, name) = (attach_type.parse().ok()?, unescape(name)?);
                Some(match kind {
                    "sockmap" => Self::SockMap {
                        map: name,
                        attach_type,
                    },
                    _ => Self::Cgroup {
                        path: name,
                        attach_type,
                    },
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_reads_back() {
        for instance in [
            Instance::Link(3),
            Instance::Xdp { ifindex: 2, flags: 2 },
            Instance::TcFilter {
                ifindex: 7,
                direction: TcDirection::Egress,
                priority: 50,
                handle: u32::MAX,
            },
            Instance::SockMap {
                map: "sock.map-1".into(),
                attach_type: 7,
            },
            Instance::Cgroup {
                path: "/sys/fs/cgroup/a-b.slice".into(),
                attach_type: 0,
            },
            Instance::Process(0),
        ] {
            assert_eq!(Instance::parse(&instance.to_string()), Some(instance));
        }
    }

    #[test]
    fn other_names_are_no_instances() {
        for name in [
            "program",
            "link-",
            "link-x",
            "tc-1-up-2-3",
            "tc-1-ingress-2-3-4",
            "sockmap-1",
            "~",
            "",
        ] {
            assert_eq!(Instance::parse(name), None, "{name}");
        }
    }
}
