//! Free ports on loopback.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;

use crate::error::{Error, Result};

/// Below the range that the kernel takes source ports from (32768 on), so that no outgoing connection of
/// another test takes the port before its server does.
const FIRST: u16 = 12_000;
const COUNT: u64 = 20_000;

/// Finds a loopback port that nobody listens on.
///
/// The caller's program binds it a moment later; the choice is random so that test processes that run at
/// the same time don't meet.
pub fn free() -> Result<u16> {
    for _ in 0..1000 {
        let random = RandomState::new().build_hasher().finish();
        let port = FIRST + u16::try_from(random % COUNT).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Other(format!(
        "no free port on 127.0.0.1 between {FIRST} and {}",
        u64::from(FIRST) + COUNT
    )))
}
