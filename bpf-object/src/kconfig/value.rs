//! Values of the configuration as bytes of an extern's type.

use btf::{Btf, Endian};

use crate::globals::c_type;

use super::error::KconfigError;
use super::externs::{Extern, ExternType};
use super::parse::shown;

/// What was written.
pub(super) enum Written {
    /// The value.
    Whole,
    /// The first `kept` of a text's `given` bytes.
    Cut { given: usize, kept: usize },
}

/// Writes the value that a line of the configuration gives (libbpf.c, `bpf_object__process_kconfig_line`).
pub(super) fn write(
    btf: &Btf<'_>,
    found: &Extern<'_>,
    value: &[u8],
    to: &mut [u8],
) -> Result<Written, KconfigError> {
    match value.first() {
        // Only the first character counts.
        Some(b'y' | b'n' | b'm') => tristate(btf, found, value, to),
        Some(b'"') => text(btf, found, value, to),
        _ => {
            let bad = |what| KconfigError::BadValue {
                name: found.name.into(),
                value: shown(value),
                what,
            };
            let number = number(value).map_err(bad)?;
            if !matches!(found.kind, ExternType::Int | ExternType::Char) {
                return Err(wrong_type(btf, found, value, "an integer"));
            }
            write_number(btf, found, number, &shown(value), to)?;
            Ok(Written::Whole)
        }
    }
}

/// Writes a number that does not come from the configuration, for which a bool is an integer, too.
pub(super) fn write_fact(
    btf: &Btf<'_>,
    found: &Extern<'_>,
    value: u64,
    to: &mut [u8],
) -> Result<(), KconfigError> {
    let wanted = match found.kind {
        ExternType::Int | ExternType::Char => return write_number(btf, found, value, &value.to_string(), to),
        ExternType::Bool if value <= 1 => return write_number(btf, found, value, &value.to_string(), to),
        ExternType::Bool => "an integer",
        ExternType::Tristate | ExternType::Text => "an integer or a bool",
    };
    Err(wrong_type(btf, found, value.to_string().as_bytes(), wanted))
}

fn tristate(btf: &Btf<'_>, found: &Extern<'_>, value: &[u8], to: &mut [u8]) -> Result<Written, KconfigError> {
    let first = value.first().copied().unwrap_or_default();
    let number = match (found.kind, first) {
        (ExternType::Bool, b'm') => {
            return Err(wrong_type(btf, found, value, "enum libbpf_tristate or a char"));
        }
        (ExternType::Bool, _) => u64::from(first == b'y'),
        // enum libbpf_tristate: TRI_NO, TRI_YES, TRI_MODULE (bpf_helpers.h).
        (ExternType::Tristate, b'y') => 1,
        (ExternType::Tristate, b'm') => 2,
        (ExternType::Tristate, _) => 0,
        (ExternType::Char, _) => first.into(),
        (ExternType::Int | ExternType::Text, _) => {
            return Err(wrong_type(
                btf,
                found,
                value,
                "a bool, enum libbpf_tristate or a char",
            ));
        }
    };
    put(btf.endian(), number, to);
    Ok(Written::Whole)
}

fn text(btf: &Btf<'_>, found: &Extern<'_>, value: &[u8], to: &mut [u8]) -> Result<Written, KconfigError> {
    if found.kind != ExternType::Text {
        return Err(wrong_type(btf, found, value, "an array of char"));
    }
    let Some(text) = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")) else {
        return Err(KconfigError::BadValue {
            name: found.name.into(),
            value: shown(value),
            what: "its text has no quote at its end",
        });
    };
    let kept = text.len().min(to.len().saturating_sub(1));
    to.fill(0);
    for (to, from) in to.iter_mut().zip(text.iter().take(kept)) {
        *to = *from;
    }
    Ok(if kept == text.len() {
        Written::Whole
    } else {
        Written::Cut {
            given: text.len(),
            kept,
        }
    })
}

fn write_number(
    btf: &Btf<'_>,
    found: &Extern<'_>,
    value: u64,
    text: &str,
    to: &mut [u8],
) -> Result<(), KconfigError> {
    // libbpf.c, `is_kcfg_value_in_range`. A negative number is one of 64 bits with a sign here.
    let bits = found.size.saturating_mul(8);
    let in_range = match (1u64.checked_shl(bits), found.signed) {
        (None, _) => true,
        (Some(end), false) => value < end,
        (Some(end), true) => value.wrapping_add(end / 2) < end,
    };
    if !in_range {
        return Err(KconfigError::OutOfRange {
            name: found.name.into(),
            c_type: c_type(btf, found.type_id),
            value: text.into(),
        });
    }
    put(btf.endian(), value, to);
    Ok(())
}

/// The lower bytes of a number.
fn put(endian: Endian, value: u64, to: &mut [u8]) {
    let bytes = value.to_le_bytes();
    match endian {
        Endian::Little => to.iter_mut().zip(bytes).for_each(|(to, from)| *to = from),
        Endian::Big => to.iter_mut().rev().zip(bytes).for_each(|(to, from)| *to = from),
    }
}

/// A number as C's strtoull reads it with base 0: white space, a sign, `0x…`, octal after a 0; a negative
/// one is that of 64 bits with a sign.
fn number(value: &[u8]) -> Result<u64, &'static str> {
    const NO_NUMBER: &str = "it is no integer";
    let text = std::str::from_utf8(value).map_err(|_| NO_NUMBER)?;
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => (false, text),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match (hex, digits.strip_prefix('0')) {
        (Some(hex), _) => (16, hex),
        (_, Some("")) => (10, digits),
        (_, Some(octal)) => (8, octal),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NO_NUMBER);
    }
    let magnitude = u64::from_str_radix(digits, radix).map_err(|_| "it has more than 64 bits")?;
    Ok(if negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    })
}

fn wrong_type(btf: &Btf<'_>, found: &Extern<'_>, value: &[u8], wanted: &'static str) -> KconfigError {
    KconfigError::WrongType {
        name: found.name.into(),
        c_type: c_type(btf, found.type_id),
        value: shown(value),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("100", Some(100))]
    #[case("0", Some(0))]
    #[case("0x1F", Some(31))]
    #[case("010", Some(8))]
    #[case("08", None)]
    #[case("-1", Some(u64::MAX))]
    #[case("+1", Some(1))]
    #[case(" 1", Some(1))]
    #[case("1 ", None)]
    #[case("0x", None)]
    #[case("", None)]
    #[case("-", None)]
    #[case("0x-1", None)]
    #[case("18446744073709551615", Some(u64::MAX))]
    #[case("18446744073709551616", None)]
    #[case("1\r", None)]
    fn numbers_are_read_as_strtoull_reads_them(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(number(text.as_bytes()).ok(), expected);
    }
}
