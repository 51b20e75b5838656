//! What host and guest say to each other: frames of a JSON header and bytes, each after its length. The host asks, the
//! guest answers under the same number, in any order.

use std::io::{Error, ErrorKind, Read, Result, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Most bytes of a header.
const HEADER: u32 = 256 << 10;
/// Most bytes that come with it: a file, or what a command printed.
pub const MOST: u32 = 64 << 20;

/// The guest's first word, which says that it is the one that was started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// From its command line.
    pub token: String,
    /// `uname -r`.
    pub release: String,
}

/// Something for the guest to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the host.
    pub id: u64,
    /// What.
    pub what: What,
}

/// What a guest can do.
#[derive(Debug, Serialize, Deserialize)]
pub enum What {
    /// Runs a command to its end; the bytes are its input.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
        /// After this it is killed, with all that it started.
        timeout_ms: u64,
    },
    /// Starts a command that goes on.
    Spawn {
        /// Program and arguments.
        argv: Vec<String>,
        /// Variables besides the guest's own.
        env: Vec<(String, String)>,
        /// File or terminal that its output is appended to.
        output: String,
    },
    /// Sends a signal to what was spawned; nothing happens if it has ended.
    Signal {
        /// Its process.
        pid: u32,
        /// The number of the signal.
        signal: i32,
    },
    /// Asks whether what was spawned has ended.
    Status {
        /// Its process.
        pid: u32,
    },
    /// Puts the bytes into a file, which is never seen half written. Directories are made.
    Write {
        /// Where.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Reads a file.
    Read {
        /// Where.
        path: String,
    },
}

/// What came of a [`Request`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    /// That of the request.
    pub id: u64,
    /// Or why it could not be done.
    pub answer: std::result::Result<Answer, String>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing to tell. After a `Read` the bytes are the file's.
    Done,
    /// A command was started.
    Started {
        /// Its process.
        pid: u32,
    },
    /// How it ended, or that it has not.
    Status(Option<Ended>),
    /// A command ran; the bytes are its output, then its error output.
    Ran {
        /// How it ended; nothing if it was killed after its time.
        ended: Option<Ended>,
        /// How many of the bytes are its output.
        stdout: usize,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Writes a frame.
pub fn send(out: &mut impl Write, header: &impl Serialize, bytes: &[u8]) -> Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = |bytes: &[u8], most: u32| {
        u32::try_from(bytes.len())
            .ok()
            .filter(|length| *length <= most)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("{} bytes are too many", bytes.len()),
                )
            })
    };
    let (first, second) = (length(&header, HEADER)?, length(bytes, MOST)?);
    let mut frame = Vec::with_capacity(8 + header.len());
    frame.extend(first.to_le_bytes());
    frame.extend(second.to_le_bytes());
    frame.extend(header);
    out.write_all(&frame)?;
    out.write_all(bytes)?;
    out.flush()
}

/// Reads a frame.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> Result<(T, Vec<u8>)> {
    let mut word = || {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    };
    let (header, bytes) = (word()?, word()?);
    if header > HEADER || bytes > MOST {
        let said = format!("a frame of {header} and {bytes} bytes is too long");
        return Err(Error::new(ErrorKind::InvalidData, said));
    }
    let header = part(from, header)?;
    let bytes = part(from, bytes)?;
    Ok((serde_json::from_slice(&header)?, bytes))
}

/// Takes memory for what comes, not for what is announced.
fn part(from: &mut impl Read, length: u32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() == length as usize {
        Ok(bytes)
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other_and_too_long_ones_are_refused() {
        let mut wire = Vec::new();
        send(&mut wire, &"one", b"1").unwrap();
        send(&mut wire, &"two", b"").unwrap();
        let mut from = &wire[..];
        assert_eq!(
            receive::<String>(&mut from).unwrap(),
            ("one".into(), b"1".to_vec())
        );
        assert_eq!(receive::<String>(&mut from).unwrap(), ("two".into(), Vec::new()));
        assert_eq!(
            receive::<String>(&mut from).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        assert_eq!(
            receive::<String>(&mut &[0xff; 8][..]).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
        assert!(receive::<String>(&mut &wire[..9]).is_err());
    }
}
