//! File descriptors over a Unix socket, from the loading process to the agent.
#![allow(unsafe_code, reason = "descriptors arrive as plain integers")]

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    os::unix::net::UnixStream,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Most descriptors of one message; the kernel allows 253 (SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

/// Sends one message with descriptors. The message must not be empty.
pub fn send(socket: &UnixStream, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let mut sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(message)],
        control,
        MsgFlags::empty(),
        None,
    )?;
    while let Some(rest) = message.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(rest)],
            &[],
            MsgFlags::empty(),
            None,
        )?;
    }
    Ok(())
}

/// Receives until the peer closes: at most `limit` bytes (more is an error), and all descriptors.
pub fn receive(socket: &UnixStream, limit: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    let mut chunk = vec![0; 64 << 10];
    loop {
        let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
        let mut slices = [IoSliceMut::new(&mut chunk)];
        let received = loop {
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                Err(nix::Error::EINTR) => {}
                other => break other?,
            }
        };
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = message {
                // SAFETY: the kernel just installed these descriptors for us, and nobody else owns them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let count = received.bytes;
        if count == 0 {
            return Ok((bytes, fds));
        }
        if bytes.len() + count > limit {
            return Err(io::Error::other(format!(
                "the loading process sent more than {limit} bytes"
            )));
        }
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Seek, Write},
        os::fd::AsFd,
    };

    use super::*;

    #[test]
    fn a_descriptor_and_a_long_message_arrive() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello").unwrap();
        let message = vec![7; 300_000];
        let sender = std::thread::spawn({
            let message = message.clone();
            let file = file.try_clone().unwrap();
            move || send(&theirs, &message, &[file.as_fd()]).unwrap()
        });
        let (bytes, mut fds) = receive(&ours, 1 << 20).unwrap();
        sender.join().unwrap();
        assert_eq!(bytes, message);
        let mut received = File::from(fds.pop().unwrap());
        let mut text = String::new();
        received.rewind().unwrap();
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(&theirs, &[0; 100], &[]).unwrap();
        drop(theirs);
        assert!(receive(&ours, 99).is_err());
    }
}
