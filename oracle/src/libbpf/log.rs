//! libbpf's messages, kept per thread instead of written to stderr.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};
use std::ptr::null_mut;
use std::sync::Once;

use libbpf_sys::{__va_list_tag, LIBBPF_DEBUG, libbpf_print_level, libbpf_set_print};

use super::ffi;

/// What a thread collects at the moment.
struct Buffer {
    text: String,
    debug: bool,
}

thread_local! {
    static BUFFER: RefCell<Option<Buffer>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs `f` and returns all that libbpf logged on this thread meanwhile, debug messages too.
pub fn logged<T>(f: impl FnOnce() -> T) -> (T, String) {
    collect(true, f)
}

/// The same without debug messages, for errors.
pub(super) fn quietly<T>(f: impl FnOnce() -> T) -> (T, String) {
    let debug = BUFFER.with_borrow(|buffer| buffer.as_ref().is_some_and(|buffer| buffer.debug));
    collect(debug, f)
}

/// Collects what `f` logs, and gives the collection around this one, if any, its copy.
fn collect<T>(debug: bool, f: impl FnOnce() -> T) -> (T, String) {
    hook();
    let new = Buffer {
        text: String::new(),
        debug,
    };
    let outer = BUFFER.replace(Some(new));
    let result = f();
    let text = BUFFER
        .replace(outer)
        .map(|buffer| buffer.text)
        .unwrap_or_default();
    BUFFER.with_borrow_mut(|buffer| {
        if let Some(outer) = buffer {
            outer.text.push_str(&text);
        }
    });
    (result, text)
}

/// Makes libbpf log here (`libbpf_set_print`), from the first call on.
pub(super) fn hook() {
    HOOK.call_once(|| {
        // SAFETY: print() has the type that libbpf asks for, and lives as long as the process.
        unsafe { libbpf_set_print(Some(print)) };
    });
}

/// libbpf's `libbpf_print_fn_t`.
///
/// # Safety
/// `format` and `args` must fit, as libbpf's do.
unsafe extern "C" fn print(
    level: libbpf_print_level,
    format: *const c_char,
    args: *mut __va_list_tag,
) -> c_int {
    // Formatting is most of what a debug message costs, and few are wanted. A thread that ends wants none.
    let wanted = BUFFER.try_with(|buffer| {
        let buffer = buffer.try_borrow().ok()?;
        buffer.as_ref().map(|buffer| buffer.debug || level < LIBBPF_DEBUG)
    });
    if !matches!(wanted, Ok(Some(true))) {
        return 0;
    }
    let mut message = null_mut();
    // SAFETY: libbpf passes a format with its arguments, which are used once; message is only read if set.
    let len = unsafe { ffi::vasprintf(&mut message, format, args) };
    if len < 0 {
        return 0;
    }
    // SAFETY: vasprintf succeeded, so message is a NUL-terminated string of its own, freed after copying.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        ffi::free(message.cast());
        text
    };
    let _ = BUFFER.try_with(|buffer| {
        if let Ok(mut buffer) = buffer.try_borrow_mut()
            && let Some(buffer) = buffer.as_mut()
        {
            buffer.text.push_str(&text);
        }
    });
    len
}
