//! The host's end of the line to a guest.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::protocol::{Answer, Hello, Reply, Request, What, receive, send};
use crate::error::{During, Error, Result};

/// Between two looks whether the guest has come.
const PAUSE: Duration = Duration::from_millis(20);
/// A guest says hello right after it has connected.
const HELLO: Duration = Duration::from_secs(10);

/// Waits for a guest on loopback, which it reaches through QEMU.
pub struct Waiting {
    listener: TcpListener,
    token: String,
}

/// A guest that answers.
pub struct Channel {
    out: Mutex<TcpStream>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: u64,
    lost: bool,
    waiting: BTreeMap<u64, Sender<(Reply, Vec<u8>)>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The guest could not do it, and says why.
    Refused(String),
    /// The guest is gone, or silent.
    Lost(String),
}

impl Waiting {
    /// Listens at a free port.
    pub fn new() -> Result<Waiting> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during(|| "listening for a guest")?;
        listener
            .set_nonblocking(true)
            .during(|| "listening for a guest")?;
        let mut bytes = [0; 16];
        let mut random = std::fs::File::open("/dev/urandom").during(|| "opening /dev/urandom")?;
        std::io::Read::read_exact(&mut random, &mut bytes).during(|| "reading /dev/urandom")?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Waiting { listener, token })
    }

    /// Where it listens.
    pub fn port(&self) -> Result<u16> {
        self.listener
            .local_addr()
            .map(|address| address.port())
            .during(|| "asking for a port")
    }

    /// What the guest is to show.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until the guest has come; `check` fails when it never will.
    pub fn accept(self, timeout: Duration, check: impl Fn() -> Result<()>) -> Result<(Channel, Hello)> {
        let started = Instant::now();
        loop {
            if let Ok((stream, _)) = self.listener.accept() {
                match greet(&stream) {
                    Ok(hello) if hello.token == self.token => return Ok((Channel::new(stream)?, hello)),
                    // Whoever that was, it is not the guest.
                    Ok(_) | Err(_) => continue,
                }
            }
            check()?;
            if started.elapsed() >= timeout {
                return Err(Error::Other(format!(
                    "it did not answer within {} s",
                    timeout.as_secs()
                )));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn greet(stream: &TcpStream) -> std::io::Result<Hello> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(HELLO))?;
    let (hello, _) = receive(&mut &*stream)?;
    stream.set_read_timeout(None)?;
    stream.set_nodelay(true)?;
    Ok(hello)
}

impl Channel {
    fn new(stream: TcpStream) -> Result<Channel> {
        let about = || "speaking with a guest";
        let state = Arc::new(Mutex::new(State::default()));
        let (mut from, shared) = (stream.try_clone().during(about)?, Arc::clone(&state));
        std::thread::Builder::new()
            .name("from a guest".into())
            .spawn(move || {
                while let Ok((reply, bytes)) = receive::<Reply>(&mut from) {
                    let waiting = lock(&shared).waiting.remove(&reply.id);
                    // Nobody waits any more after a timeout.
                    waiting.map(|waiting| waiting.send((reply, bytes)));
                }
                let mut state = lock(&shared);
                state.lost = true;
                // Whoever waits hears that there will be no answer.
                state.waiting.clear();
            })
            .during(about)?;
        Ok(Channel {
            out: Mutex::new(stream),
            state,
        })
    }

    /// Asks the guest and waits for its answer.
    pub(super) fn ask(
        &self,
        what: What,
        bytes: &[u8],
        timeout: Duration,
    ) -> std::result::Result<(Answer, Vec<u8>), Failure> {
        let (sender, receiver) = mpsc::channel();
        let id = {
            let mut state = lock(&self.state);
            if state.lost {
                return Err(Failure::Lost("the guest has gone away".into()));
            }
            state.next += 1;
            let id = state.next;
            state.waiting.insert(id, sender);
            id
        };
        let sent = send(&mut *lock(&self.out), &Request { id, what }, bytes);
        if let Err(error) = sent {
            lock(&self.state).waiting.remove(&id);
            return Err(Failure::Lost(format!("speaking with the guest: {error}")));
        }
        match receiver.recv_timeout(timeout) {
            Ok((reply, bytes)) => reply
                .answer
                .map(|answer| (answer, bytes))
                .map_err(Failure::Refused),
            Err(RecvTimeoutError::Timeout) => {
                lock(&self.state).waiting.remove(&id);
                Err(Failure::Lost(format!(
                    "the guest gave no answer within {} s",
                    timeout.as_secs()
                )))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::Lost("the guest went away before it answered".into()))
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Ends the thread that reads.
        let _ = lock(&self.out).shutdown(std::net::Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn connect(port: u16, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let hello = Hello {
            token: token.into(),
            release: "6.1".into(),
        };
        send(&mut stream, &hello, &[]).unwrap();
        stream
    }

    #[test]
    fn only_the_guest_that_was_started_is_heard_and_its_loss_is_noticed() {
        let waiting = Waiting::new().unwrap();
        let (port, token) = (waiting.port().unwrap(), waiting.token().to_owned());
        let _stranger = connect(port, "guess");
        let mut guest = connect(port, &token);
        let (channel, hello) = waiting.accept(SOON, || Ok(())).unwrap();
        assert_eq!(hello.release, "6.1");
        let answering = std::thread::spawn(move || {
            let (request, bytes) = receive::<Request>(&mut guest).unwrap();
            let reply = Reply {
                id: request.id,
                answer: Ok(Answer::Done),
            };
            send(&mut guest, &reply, &bytes).unwrap();
            let _second = receive::<Request>(&mut guest).unwrap();
        });
        let read = || What::Read { path: "/x".into() };
        let (_, bytes) = channel.ask(read(), b"echo", SOON).unwrap();
        assert_eq!(bytes, b"echo");
        assert!(matches!(channel.ask(read(), &[], SOON), Err(Failure::Lost(_))));
        answering.join().unwrap();
        assert!(matches!(channel.ask(read(), &[], SOON), Err(Failure::Lost(_))));
    }

    #[test]
    fn a_guest_that_never_comes_is_not_waited_for() {
        let waiting = Waiting::new().unwrap();
        let said = waiting
            .accept(SOON, || Err(Error::Other("it has ended".into())))
            .map(drop);
        assert_eq!(said.unwrap_err().to_string(), "it has ended");
        let said = Waiting::new()
            .unwrap()
            .accept(Duration::ZERO, || Ok(()))
            .map(drop);
        assert!(said.unwrap_err().to_string().contains("did not answer"));
    }
}
