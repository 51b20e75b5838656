//! Questions to the kernel that are answered by trying: trial loads, links that cannot be made, events that are
//! opened and closed. Nothing here stays; what an errno means is decided by `facts`.

pub mod buffer;
pub mod link;
pub mod load;
pub mod map;
pub mod perf;
pub mod security;

use std::io;

/// ENOTSUPP of include/linux/errno.h, which the kernel lets out although it is no errno of user space.
pub const ENOTSUPP: i32 = 524;

/// The number of an error, 0 if it has none.
pub fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}
