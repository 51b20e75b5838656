//! What values a type has, without its names and qualifiers.

use btf::{Btf, Kind, Type};

/// A type as values see it.
#[derive(Clone, Copy)]
pub(super) enum Shape<'b> {
    /// True or false.
    Bool(Bits),
    /// A plain `char`, which can be given as a character.
    Char(Bits),
    /// Another integer.
    Int(Bits),
    /// A floating-point number of 32 or 64 bits.
    Float(u32),
    /// An enum.
    Enum(Type<'b>, Bits),
    /// An array; `text`: its elements are `char`.
    Array { element: u32, length: u32, text: bool },
    /// A struct.
    Struct(Type<'b>),
    /// A union.
    Union(Type<'b>),
}

/// Bits of an integer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    /// First bit, from where the type begins; not 0 for old-style bit fields only.
    pub(super) offset: u64,
    /// How many.
    pub(super) width: u32,
    /// Whether it has a sign.
    pub(super) signed: bool,
}

/// Why a type has no values that could be given.
pub(super) enum Shapeless {
    /// The language has it and a loader cannot know its values.
    Unsupported(String),
    /// The BTF contradicts itself.
    Malformed(String),
}

impl<'b> Shape<'b> {
    /// The shape of a type; `field` is the width of a bit field of that type, else 0.
    pub(super) fn of(btf: &'b Btf<'b>, id: u32, field: u32) -> Result<Self, Shapeless> {
        use Shapeless::{Malformed, Unsupported};
        let Some(t) = btf.get(id).and_then(Type::resolved) else {
            return Err(Malformed("its type in BTF leads nowhere".into()));
        };
        let size = t.own_size().unwrap_or(0);
        let bits = |offset: u8, width: u32, signed| {
            let width = if field == 0 { width } else { field };
            // Sizes were checked to be at most 16.
            if width == 0 || u32::from(offset) + width > size * 8 {
                return Err(Malformed(format!("{width} bits in an integer of {size} bytes")));
            }
            Ok(Bits {
                offset: offset.into(),
                width,
                signed,
            })
        };
        let shape = match t.kind() {
            Kind::Int => {
                let Some(int) = t.int().filter(|_| matches!(size, 1 | 2 | 4 | 8 | 16)) else {
                    return Err(Unsupported(format!(
                        "it is an integer of {size} bytes, only 1, 2, 4, 8 and 16 are known"
                    )));
                };
                let offset = if field == 0 { int.offset } else { 0 };
                let bits = bits(offset, int.bits.into(), int.signed)?;
                return Ok(if int.bool {
                    Shape::Bool(bits)
                } else if is_char(&t) {
                    Shape::Char(bits)
                } else {
                    Shape::Int(bits)
                });
            }
            Kind::Enum | Kind::Enum64 if matches!(size, 1 | 2 | 4 | 8) => {
                return Ok(Shape::Enum(t, bits(0, size * 8, t.flag())?));
            }
            Kind::Enum | Kind::Enum64 => return Err(Malformed(format!("an enum of {size} bytes"))),
            Kind::Float if matches!(size, 4 | 8) => Shape::Float(size * 8),
            Kind::Float => {
                return Err(Unsupported(format!(
                    "it is a floating-point number of {size} bytes, only 4 and 8 are known"
                )));
            }
            Kind::Array => {
                let Some(array) = t.array() else {
                    return Err(Malformed("its array is cut off".into()));
                };
                if array.length == 0 {
                    return Err(Unsupported("it is an array without a length".into()));
                }
                Shape::Array {
                    element: array.element,
                    length: array.length,
                    text: btf
                        .get(array.element)
                        .and_then(Type::resolved)
                        .is_some_and(|e| is_char(&e)),
                }
            }
            Kind::Struct => Shape::Struct(t),
            Kind::Union => Shape::Union(t),
            Kind::Ptr => {
                return Err(Unsupported(
                    "it is a pointer, and addresses are known in the running kernel only".into(),
                ));
            }
            Kind::Func | Kind::FuncProto => return Err(Unsupported("it is a function".into())),
            Kind::Void => return Err(Unsupported("it is void".into())),
            Kind::Fwd => {
                return Err(Unsupported(
                    "its struct or union is declared and not defined in the object".into(),
                ));
            }
            kind => return Err(Malformed(format!("its type in BTF is a {kind}"))),
        };
        if field != 0 {
            return Err(Malformed(format!("a bit field that is a {}", t.kind())));
        }
        Ok(shape)
    }
}

/// clang does not mark characters (its `BTFDebug.cpp` knows `BTF_INT_SIGNED` and `BTF_INT_BOOL` only), so
/// the name tells: `__u8` is `unsigned char`, and a number.
fn is_char(t: &Type<'_>) -> bool {
    t.own_size() == Some(1)
        && t.int()
            .is_some_and(|int| !int.bool && (int.char || t.name_bytes() == b"char"))
}
