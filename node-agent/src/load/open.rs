//! Opening an object with aya.

use std::{fs::File, io, os::fd::AsRawFd};

use aya::EbpfLoader;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A loader without BTF. aya's constructor parses the kernel's BTF whether or not it is needed, which costs
/// 20 to 30 ms and 21 MB; for its duration this process may open no file, so that it finds none. Only for a
/// process with a single thread.
pub fn loader_without_btf<'a>() -> io::Result<EbpfLoader<'a>> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let next = File::open("/dev/null")?.as_raw_fd();
    let lowered = u64::try_from(next).map_err(io::Error::other)?;
    setrlimit(Resource::RLIMIT_NOFILE, lowered, hard)?;
    let mut loader = EbpfLoader::new();
    let restored = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    loader.btf(None);
    restored?;
    Ok(loader)
}
