//! What the fuzz targets share: a bound on memory, and a way from bytes to BTF that is nearly always valid.
//!
//! Findings are panics, overflows, failed assertions, more than ten seconds for one input, and memory out of
//! proportion to it.

mod encode;
mod input;
mod read;
mod recipe;
mod types;

use std::alloc::System;
use std::sync::Once;

use cap::Cap;

pub use encode::Writer;
pub use read::{read_all, read_ext, spell};
pub use recipe::{Part, Recipe, Wanted};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that may be allocated at a time for each byte of the input.
const PER_BYTE: usize = 64;

static HOOK: Once = Once::new();

/// Runs `f`, which may have `fixed` bytes of memory at a time and a small multiple of `input`; beyond that the
/// process aborts.
pub fn bounded<T>(fixed: usize, input: usize, f: impl FnOnce() -> T) -> T {
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A backtrace needs memory.
            let _ = MEMORY.set_limit(usize::MAX);
            report(info);
        }));
    });
    let bound = input.saturating_mul(PER_BYTE).saturating_add(fixed);
    // It can only be refused below what is allocated.
    let _ = MEMORY.set_limit(MEMORY.allocated().saturating_add(bound));
    let result = f();
    let _ = MEMORY.set_limit(usize::MAX);
    result
}
