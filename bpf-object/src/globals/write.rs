//! Writes a JSON value into bytes, as a type says.

use btf::{Btf, Type};
use serde_json::Value;

use super::MAX_DEPTH;
use super::bits;
use super::budget::Budget;
use super::error::{Alternatives, GlobalError};
use super::fits::{enumerators, fits};
use super::number::{Given, enum_bits, enumerator_bits};
use super::refuse::shown;
use super::shape::{Bits, Shape, Shapeless};
use super::suggest::closest;

/// Most names that are compared with one that is not there.
pub(super) const COMPARED: usize = 1024;

/// Writes one variable.
pub(super) struct Writer<'a> {
    pub(super) btf: &'a Btf<'a>,
    /// The bytes of the variable.
    pub(super) bytes: &'a mut [u8],
    /// Its name, and the way to the part that is being written.
    pub(super) path: Vec<Step<'a>>,
    pub(super) budget: &'a mut Budget,
}

/// A step on the way to a part of a variable.
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// A type at a place.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) type_id: u32,
    /// Bits from the start of the variable.
    pub(super) start: u64,
    /// Width of a bit field, else 0.
    pub(super) field: u32,
}

impl<'a> Writer<'a> {
    /// Writes a value; bytes are in disorder after an error.
    pub(super) fn value(&mut self, spot: Spot, value: &'a Value) -> Result<(), GlobalError> {
        if self.path.len() > MAX_DEPTH {
            return Err(self.too_complex(spot, "it is nested more than 32 deep"));
        }
        self.budget.spend(1).map_err(|e| self.exceeded(spot, e))?;
        let shape = match Shape::of(self.btf, spot.type_id, spot.field) {
            Ok(shape) => shape,
            Err(Shapeless::Unsupported(reason)) => {
                let at = self.target(spot);
                return Err(GlobalError::Unsupported { at, reason });
            }
            Err(Shapeless::Malformed(detail)) => return Err(self.malformed(spot, detail)),
        };
        match (shape, value) {
            (_, Value::Null) => Err(GlobalError::Null {
                at: self.target(spot),
                fits: fits(self.btf, shape, self.budget),
            }),
            (Shape::Bool(bits), Value::Bool(given)) => self.bits(spot, bits, u128::from(*given)),
            (Shape::Char(bits), Value::String(text)) => match text.as_bytes() {
                [byte] => self.bits(spot, bits, u128::from(*byte)),
                _ => Err(self.wrong_type(spot, shape, value)),
            },
            (Shape::Char(bits) | Shape::Int(bits), _) => self.integer(spot, shape, bits, value),
            (Shape::Enum(t, bits), _) => self.enumerator(spot, shape, t, bits, value),
            (Shape::Float(width), Value::Number(number)) => {
                let given = number.as_f64().filter(|n| n.is_finite());
                self.float(spot, shape, width, given, value)
            }
            (
                Shape::Array {
                    length, text: true, ..
                },
                Value::String(text),
            ) => self.text(spot, length, text),
            (Shape::Array { element, length, .. }, Value::Array(items)) => {
                self.array(spot, element, length, items)
            }
            (Shape::Struct(t), Value::Object(members)) => self.members(spot, t, members),
            (Shape::Union(t), Value::Object(members)) if members.len() == 1 => self.members(spot, t, members),
            (Shape::Union(_), Value::Object(members)) => Err(self.union_members(spot, members.keys())),
            _ => Err(self.wrong_type(spot, shape, value)),
        }
    }

    fn integer(
        &mut self,
        spot: Spot,
        shape: Shape<'a>,
        bits: Bits,
        value: &Value,
    ) -> Result<(), GlobalError> {
        match Given::of(value) {
            Given::Integer(n) => match n.encode(bits.signed, bits.width) {
                Some(encoded) => self.bits(spot, bits, encoded),
                None => Err(self.out_of_range(spot, shape, value)),
            },
            Given::TooLarge => Err(self.out_of_range(spot, shape, value)),
            Given::Float(n) => {
                let hint = if n.fract() == 0.0 && n.abs() < 9e15 {
                    format!("write {n}")
                } else {
                    "write an integer, and one beyond 64 bits as a string".into()
                };
                Err(GlobalError::FloatForInteger {
                    at: self.target(spot),
                    given: shown(value).into(),
                    hint,
                    fits: fits(self.btf, shape, self.budget),
                })
            }
            Given::Text => Err(GlobalError::NotAnInteger {
                at: self.target(spot),
                given: shown(value).into(),
                fits: fits(self.btf, shape, self.budget),
            }),
            Given::Other => Err(self.wrong_type(spot, shape, value)),
        }
    }

    fn enumerator(
        &mut self,
        spot: Spot,
        shape: Shape<'a>,
        t: Type<'a>,
        bits: Bits,
        value: &Value,
    ) -> Result<(), GlobalError> {
        if let Value::String(name) = value {
            for enumerator in t.enumerators() {
                let known = enumerator.name_bytes();
                self.budget
                    .look(known.len())
                    .map_err(|e| self.exceeded(spot, e))?;
                if known == name.as_bytes() {
                    return match enumerator_bits(&t, enumerator.value, bits) {
                        Some(encoded) => self.bits(spot, bits, encoded),
                        None => Err(self.out_of_range(spot, shape, value)),
                    };
                }
            }
        }
        match Given::of(value) {
            Given::Text => {
                let name = shown(value).into();
                let given = value.as_str().unwrap_or_default();
                let known = t.enumerators().take(COMPARED).map(|e| e.name());
                let closest = closest(given, known, self.budget);
                let (names, more) = enumerators(t, self.budget);
                Err(GlobalError::UnknownEnumerator {
                    at: self.target(spot),
                    name,
                    instead: Box::new(Alternatives { closest, names, more }),
                })
            }
            Given::Integer(n) => match enum_bits(n, bits) {
                Some(encoded) => self.bits(spot, bits, encoded),
                None => Err(self.out_of_range(spot, shape, value)),
            },
            _ => self.integer(spot, shape, bits, value),
        }
    }

    fn float(
        &mut self,
        spot: Spot,
        shape: Shape<'a>,
        width: u32,
        given: Option<f64>,
        value: &Value,
    ) -> Result<(), GlobalError> {
        let encoded = match (given, width) {
            (Some(n), 64) => Some(u128::from(n.to_bits())),
            // Rounding is what C does, too; infinity is not.
            (Some(n), _) if (n as f32).is_finite() => Some(u128::from((n as f32).to_bits())),
            _ => None,
        };
        let bits = Bits {
            offset: 0,
            width,
            signed: false,
        };
        match encoded {
            Some(encoded) => self.bits(spot, bits, encoded),
            None => Err(self.out_of_range(spot, shape, value)),
        }
    }

    fn bits(&mut self, spot: Spot, bits: Bits, value: u128) -> Result<(), GlobalError> {
        let start = spot.start.saturating_add(bits.offset);
        match bits::write(self.bytes, self.btf.endian(), start, bits.width, value) {
            Some(()) => Ok(()),
            None => Err(self.malformed(spot, "it goes on beyond the end of its variable".into())),
        }
    }
}
