//! Integers wider than any of Rust's that JSON could give: sign and 128 bits.

use btf::Type;
use serde_json::Value;

use super::shape::Bits;

/// An integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integer {
    negative: bool,
    magnitude: u128,
}

/// What a JSON value is as an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Given {
    /// This.
    Integer(Integer),
    /// A number with a fraction or exponent, or one beyond 64 bits, which JSON reads as such.
    Float(f64),
    /// A string that is an integer of more than 128 bits.
    TooLarge,
    /// A string that is no integer.
    Text,
    /// No number or string.
    Other,
}

impl Given {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(n), _) => Given::Integer(Integer {
                    negative: false,
                    magnitude: n.into(),
                }),
                (None, Some(n)) => Given::Integer(Integer {
                    negative: n < 0,
                    magnitude: n.unsigned_abs().into(),
                }),
                (None, None) => Given::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => parse(text),
            _ => Given::Other,
        }
    }
}

/// Decimal or `0x…`, with an optional minus. A leading zero is refused: C would read it as octal.
fn parse(text: &str) -> Given {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => return Given::Text,
        None => (10, digits),
    };
    // from_str_radix takes signs, too.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Given::Text;
    }
    match u128::from_str_radix(digits, radix) {
        Ok(magnitude) => Given::Integer(Integer {
            negative: negative && magnitude != 0,
            magnitude,
        }),
        Err(_) => Given::TooLarge,
    }
}

impl From<i128> for Integer {
    fn from(n: i128) -> Self {
        Integer {
            negative: n < 0,
            magnitude: n.unsigned_abs(),
        }
    }
}

impl Integer {
    /// Its bits in two's complement; `None` if it does not fit into `width` bits (1 to 128).
    pub(super) fn encode(self, signed: bool, width: u32) -> Option<u128> {
        let half = 1u128.checked_shl(width.checked_sub(1)?)?;
        let max = if signed { half - 1 } else { half - 1 + half };
        if self.negative {
            (signed && self.magnitude <= half).then(|| self.magnitude.wrapping_neg() & (half - 1 + half))
        } else {
            (self.magnitude <= max).then_some(self.magnitude)
        }
    }

    /// The integer that these bits are in two's complement.
    pub(super) fn decode(bits: u128, signed: bool, width: u32) -> Option<Self> {
        let half = 1u128.checked_shl(width.checked_sub(1)?)?;
        let all = half - 1 + half;
        let negative = signed && bits & half != 0;
        let magnitude = if negative {
            bits.wrapping_neg() & all
        } else {
            bits & all
        };
        Some(Integer { negative, magnitude })
    }

    /// As JSON: a number within `i64`, else a string, since 64 bits with a sign are what the Kubernetes
    /// API keeps.
    pub(super) fn to_json(self) -> Value {
        let signed = i128::try_from(self.magnitude).map(|m| if self.negative { -m } else { m });
        match signed.map(i64::try_from) {
            Ok(Ok(n)) => Value::from(n),
            _ => Value::from(self.to_string()),
        }
    }
}

impl std::fmt::Display for Integer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        write!(f, "{sign}{}", self.magnitude)
    }
}

/// An integer as bits of an enum. Until version 16, clang did not say whether an enum has a sign
/// (`BTF_INFO_KFLAG` of an enum), so numbers of either sign are taken where it has none.
pub(super) fn enum_bits(n: Integer, bits: Bits) -> Option<u128> {
    n.encode(bits.signed, bits.width)
        .or_else(|| n.encode(true, bits.width))
}

/// The bits of an enumerator's value; `None` if a bit field is too narrow for it.
pub(super) fn enumerator_bits(t: &Type<'_>, value: i64, bits: Bits) -> Option<u128> {
    if t.flag() {
        return enum_bits(Integer::from(i128::from(value)), bits);
    }
    let unsigned = enum_bits(Integer::from(i128::from(value.cast_unsigned())), bits);
    // A negative one of 32 bits that an older clang has written.
    let signed = || u32::try_from(value).ok().map(u32::cast_signed);
    unsigned.or_else(|| enum_bits(Integer::from(i128::from(signed()?)), bits))
}

/// The least and greatest integer of `width` bits (1 to 128).
pub(super) fn range(signed: bool, width: u32) -> (Integer, Integer) {
    let half = 1u128.checked_shl(width.saturating_sub(1)).unwrap_or(1 << 127);
    let int = |negative, magnitude| Integer { negative, magnitude };
    if signed {
        (int(true, half), int(false, half - 1))
    } else {
        (int(false, 0), int(false, half - 1 + half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::number(json!(7), Some("7"))]
    #[case::negative(json!(-7), Some("-7"))]
    #[case::greatest_of_64_bits(json!(u64::MAX), Some("18446744073709551615"))]
    #[case::least_of_64_bits(json!(i64::MIN), Some("-9223372036854775808"))]
    #[case::decimal_text(json!("340282366920938463463374607431768211455"), Some("340282366920938463463374607431768211455"))]
    #[case::hex_text(json!("0xFf"), Some("255"))]
    #[case::negative_hex_text(json!("-0x10"), Some("-16"))]
    #[case::minus_zero(json!("-0"), Some("0"))]
    #[case::octal_is_ambiguous(json!("010"), None)]
    #[case::plus(json!("+1"), None)]
    #[case::sign_after_prefix(json!("0x-1"), None)]
    #[case::empty(json!(""), None)]
    #[case::minus_alone(json!("-"), None)]
    #[case::space(json!(" 1"), None)]
    #[case::fraction(json!(1.0), None)]
    #[case::boolean(json!(true), None)]
    fn integers_are_read_exactly(#[case] value: Value, #[case] expected: Option<&str>) {
        let read = match Given::of(&value) {
            Given::Integer(n) => Some(n.to_string()),
            _ => None,
        };
        assert_eq!(read.as_deref(), expected);
    }

    #[rstest]
    #[case(true, 8, "-128", "127")]
    #[case(false, 1, "0", "1")]
    #[case(true, 1, "-1", "0")]
    #[case(false, 64, "0", "18446744073709551615")]
    #[case(
        true,
        128,
        "-170141183460469231731687303715884105728",
        "170141183460469231731687303715884105727"
    )]
    #[case(false, 128, "0", "340282366920938463463374607431768211455")]
    fn ranges_end_where_the_bits_do(
        #[case] signed: bool,
        #[case] width: u32,
        #[case] min: &str,
        #[case] max: &str,
    ) {
        let (least, greatest) = range(signed, width);
        assert_eq!(
            (least.to_string().as_str(), greatest.to_string().as_str()),
            (min, max)
        );
        for n in [least, greatest] {
            let bits = n.encode(signed, width).unwrap();
            assert_eq!(Integer::decode(bits, signed, width), Some(n));
        }
        let next = |n: Integer| {
            n.magnitude
                .checked_add(1)
                .map(|magnitude| Integer { magnitude, ..n })
        };
        assert_eq!(next(greatest).and_then(|n| n.encode(signed, width)), None);
        let below = Integer {
            negative: true,
            magnitude: least.magnitude + 1,
        };
        assert_eq!(below.encode(signed, width), None);
    }
}
