//! Which clsact filters an interface has, as rtnetlink tells: one that somebody deleted leaves no other trace.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use netlink_packet_core::{
    ErrorBuffer, ErrorMessage, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkMessage, NlasIterator, Parseable, parse_string,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage},
};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

use crate::record::TcDirection;

/// `RTM_NEWTFILTER`, the kind of message that describes one.
const RTM_NEWTFILTER: u16 = 44;
/// `TCA_KIND` and `TCA_OPTIONS`.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// `struct tcmsg` of include/uapi/linux/rtnetlink.h.
const TC_HEADER: usize = 20;
/// The kernel fills at most so much at a time (netlink_dump, net/netlink/af_netlink.c: 32 KiB).
const BUFFER: usize = 64 << 10;
/// Most filters of one interface that are looked at.
const MAX_FILTERS: usize = 65_536;
/// How often a list is asked for that changed while it was told.
const ATTEMPTS: usize = 5;
/// The kernel answers at once, or something is very wrong.
const PATIENCE: i64 = 10;

/// A filter that runs an eBPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its priority.
    pub priority: u16,
    /// Its handle.
    pub handle: u32,
    /// The program's id; none if the kernel does not say.
    pub program: Option<u32>,
}

/// The filters of eBPF programs on an interface in one direction. There are none as well where there is no such
/// interface or no clsact qdisc on it.
pub fn filters(interface: u32, direction: TcDirection) -> io::Result<Vec<Filter>> {
    for _ in 0..ATTEMPTS {
        if let Some(found) = dump(interface, direction)? {
            return Ok(found);
        }
    }
    Err(io::Error::other(format!(
        "the filters of interface number {interface} changed each of the {ATTEMPTS} times that they were read"
    )))
}

/// Asks once; none if the list changed meanwhile.
fn dump(interface: u32, direction: TcDirection) -> io::Result<Option<Vec<Filter>>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
    send(
        socket.as_raw_fd(),
        &request(interface, direction)?,
        MsgFlags::empty(),
    )?;
    let mut found = Some(Vec::new());
    let mut buffer = vec![0; BUFFER];
    loop {
        let size = receive(&socket, &mut buffer)?;
        let mut rest = buffer.get(..size).unwrap_or_default();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                found = None;
            }
            match message.message_type() {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return Err(error(message.payload())),
                RTM_NEWTFILTER => {
                    let filter = filter(message.payload()).map_err(io::Error::other)?;
                    if let (Some(list), Some(filter)) = (&mut found, filter) {
                        list.push(filter);
                    }
                }
                _ => {}
            }
            if found.as_ref().is_some_and(|list| list.len() > MAX_FILTERS) {
                return Err(io::Error::other(format!("more than {MAX_FILTERS} filters")));
            }
            // Messages begin at multiples of 4 (NLMSG_ALIGNTO).
            let length = usize::try_from(message.length()).map_err(io::Error::other)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn request(interface: u32, direction: TcDirection) -> io::Result<Vec<u8>> {
    let mut filters = TcMessage::with_index(i32::try_from(interface).map_err(io::Error::other)?);
    filters.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor: match direction {
            TcDirection::Ingress => TcHandle::MIN_INGRESS,
            TcDirection::Egress => TcHandle::MIN_EGRESS,
        },
    };
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetTrafficFilter(filters));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    Ok(bytes)
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(0) => return Err(io::Error::other("the kernel ended its answer halfway")),
            Ok(size) => return Ok(size),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn error(payload: &[u8]) -> io::Error {
    match ErrorBuffer::new_checked(&payload).and_then(|buffer| ErrorMessage::parse(&buffer)) {
        Ok(message) => message.to_io(),
        Err(error) => io::Error::other(error),
    }
}

/// What a message says, if the filter runs a program and is one: the first of each priority stands for all. Only
/// what is needed is read, so that nothing depends on attributes of other kinds of filters.
fn filter(payload: &[u8]) -> Result<Option<Filter>, netlink_packet_core::DecodeError> {
    let header = TcHeader::parse(payload)?;
    let mut found = Filter {
        // The upper half; the lower is the protocol.
        priority: (header.info >> 16) as u16,
        handle: header.handle.into(),
        program: None,
    };
    let attributes = payload.get(TC_HEADER..).unwrap_or_default();
    let (mut bpf, mut options) = (false, Vec::new());
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute?;
        match attribute.kind() {
            TCA_KIND => bpf = parse_string(attribute.value())? == TcFilterBpf::KIND,
            TCA_OPTIONS => options = attribute.value().to_vec(),
            _ => {}
        }
    }
    if !bpf || found.handle == 0 {
        return Ok(None);
    }
    for option in NlasIterator::new(options.as_slice()) {
        if let TcFilterBpfOption::ProgId(id) = TcFilterBpfOption::parse(&option?)? {
            found.program = Some(id);
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_none_has_no_filters() {
        assert_eq!(filters(0x7fff_fff0, TcDirection::Egress).unwrap(), []);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        assert!(filter(&[0; 19]).is_err());
        let mut message = vec![0; TC_HEADER];
        message.extend([200, 0, 1, 0, b'b']);
        assert!(filter(&message).is_err());
    }
}
