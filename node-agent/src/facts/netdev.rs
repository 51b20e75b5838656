//! What drivers of network interfaces can do with XDP, as the kernel tells it by generic netlink (6.3;
//! Documentation/netlink/specs/netdev.yaml).

use std::{io, os::fd::AsRawFd};

use nix::{
    errno::Errno,
    net::if_::if_indextoname,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
            sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};
use serde::Serialize;

/// Most of one answer, in bytes; the kernel sends pages.
const MAX_ANSWER: usize = 64 << 10;
/// Most answers to one question.
const MAX_ANSWERS: usize = 256;
/// include/uapi/linux/netlink.h and genetlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// include/uapi/linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// Headers of netlink and generic netlink.
const HEADER: usize = 16;
const GENERIC: usize = 4;

/// Names of `enum netdev_xdp_act`, by bit.
const ACTIONS: [&str; 7] = [
    "native",
    "redirect",
    "redirect-target",
    "zero-copy",
    "offload",
    "multi-buffer",
    "multi-buffer-target",
];

/// An interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What its driver can do with XDP; empty: only generic XDP is possible.
    pub xdp: Vec<&'static str>,
}

/// Asks about every interface; why the kernel does not tell.
///
/// # Errors
/// If the kernel does not know the question.
pub fn interfaces() -> Result<Vec<Interface>, String> {
    let why = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOENT) => "this kernel does not tell (netdev by generic netlink, 6.3)".to_owned(),
        _ => format!("asking by generic netlink failed: {error}"),
    };
    let mut family = None;
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0");
    ask(GENL_ID_CTRL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY, &name, |body| {
        family = find(body, CTRL_ATTR_FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(id.try_into().ok()?)));
    })
    .map_err(why)?;
    let family = family.ok_or("the kernel named no family of netlink messages for interfaces")?;
    let mut found = Vec::new();
    ask(
        family,
        NLM_F_REQUEST | NLM_F_DUMP,
        NETDEV_CMD_DEV_GET,
        &[],
        |body| {
            if let Some((index, features)) = device(body)
                && let Ok(name) = if_indextoname(index)
            {
                found.push(Interface {
                    name: name.to_string_lossy().into_owned(),
                    xdp: actions(features),
                });
            }
        },
    )
    .map_err(why)?;
    Ok(found)
}

/// Sends one question and gives every answer's attributes to `each`.
fn ask(
    family: u16,
    flags: u16,
    command: u8,
    attributes: &[u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkGeneric,
    )?;
    // The kernel answers at once, or something is wrong.
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(2))?;
    let length = u32::try_from(HEADER + GENERIC + attributes.len()).map_err(io::Error::other)?;
    let mut message = Vec::new();
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&family.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    // Sequence and port: one question for each socket.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[command, 1, 0, 0]);
    message.extend_from_slice(attributes);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = vec![0; MAX_ANSWER];
    for _ in 0..MAX_ANSWERS {
        let count = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        if read(answer.get(..count).unwrap_or_default(), &mut each)? || flags & NLM_F_DUMP == 0 {
            return Ok(());
        }
    }
    Err(Errno::EMSGSIZE.into())
}

/// Reads the messages of one answer; true after the last one.
fn read(mut data: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while let Some((length, kind)) = u32_at(data, 0).zip(u16_at(data, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = data.get(..length).filter(|message| message.len() >= HEADER) else {
            return Err(io::Error::other("a message that is cut off"));
        };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno = u32_at(message, HEADER).unwrap_or(0).cast_signed();
                return match errno {
                    0 => Ok(true),
                    errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                };
            }
            _ => each(message.get(HEADER + GENERIC..).unwrap_or_default()),
        }
        data = data.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Index and XDP features of a device.
fn device(attributes: &[u8]) -> Option<(u32, u64)> {
    let index = find(attributes, NETDEV_A_DEV_IFINDEX)?;
    let features = find(attributes, NETDEV_A_DEV_XDP_FEATURES)?;
    Some((
        u32::from_ne_bytes(index.try_into().ok()?),
        u64::from_ne_bytes(features.try_into().ok()?),
    ))
}

fn actions(features: u64) -> Vec<&'static str> {
    ACTIONS
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| features & (1 << bit) != 0)
        .map(|(_, name)| name)
        .collect()
}

/// The content of the first attribute of this type.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (usize::from(u16_at(attributes, 0)?), u16_at(attributes, 2)?);
        // The upper two bits say how the content is written.
        if kind & 0x3fff == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + content.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn devices_are_read_from_messages_and_damage_is_an_error_or_nothing() {
        let mut body = vec![1, 1, 0, 0];
        body.extend(attribute(NETDEV_A_DEV_IFINDEX, &7u32.to_ne_bytes()));
        body.extend(attribute(2, &[]));
        body.extend(attribute(
            NETDEV_A_DEV_XDP_FEATURES,
            &0b1000_0011u64.to_ne_bytes(),
        ));
        let mut data = message(30, &body);
        data.extend(message(NLMSG_DONE, &[0; 4]));
        let mut seen = Vec::new();
        assert!(read(&data, &mut |body| seen.extend(device(body))).unwrap());
        assert_eq!(seen, [(7, 0b1000_0011)]);
        assert_eq!(actions(0b1000_0011), ["native", "redirect"]);
        for cut in 0..data.len() {
            let _ = read(&data[..cut], &mut |body| {
                device(body);
            });
        }
        let refused = message(NLMSG_ERROR, &(-libc::ENOENT).to_ne_bytes());
        assert_eq!(
            read(&refused, &mut |_| {}).unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
        assert_eq!(find(&[0, 0, 9, 0, 0, 0, 9, 0], 1), None);
    }

    #[test]
    fn the_loopback_interface_is_told_of_or_the_kernel_does_not_tell() {
        match interfaces() {
            Ok(all) => assert!(all.iter().any(|interface| interface.name == "lo"), "{all:?}"),
            Err(why) => assert!(why.contains("netlink"), "{why}"),
        }
    }
}
