//! Reads variables back as JSON.

use btf::{Btf, Type};
use serde_json::{Map, Value};

use super::MAX_DEPTH;
use super::bits;
use super::budget::Budget;
use super::list::Global;
use super::number::{Integer, enumerator_bits};
use super::set::bytes_of;
use super::shape::{Bits, Shape};
use super::write::Spot;

/// What a variable holds, as a value that [`set`](super::set) takes; `bytes` are those of its section.
///
/// Parts that have no such value (pointers, a float that is not finite) are left out of their struct; of
/// a union, the first of its largest members is given. Integers beyond `i64` are strings. `None` if
/// nothing is left, the bytes end before the variable does, or it is too large or deep.
pub fn get(btf: &Btf<'_>, bytes: &[u8], global: &Global) -> Option<Value> {
    let own = bytes.get(bytes_of(btf, bytes, global).ok()?)?;
    let mut reader = Reader {
        btf,
        bytes: own,
        budget: Budget::new(),
    };
    let spot = Spot {
        type_id: global.type_id,
        start: 0,
        field: 0,
    };
    reader.value(spot, 0)
}

/// Steps that an element or member takes of the budget, for each becomes a value in memory.
const COST: u64 = 64;

struct Reader<'a> {
    btf: &'a Btf<'a>,
    bytes: &'a [u8],
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn value(&mut self, spot: Spot, depth: usize) -> Option<Value> {
        if depth >= MAX_DEPTH {
            return None;
        }
        self.budget.spend(COST).ok()?;
        match Shape::of(self.btf, spot.type_id, spot.field).ok()? {
            Shape::Bool(bits) => Some(Value::Bool(self.bits(spot, bits)? != 0)),
            Shape::Char(bits) => {
                let n = self.bits(spot, bits)?;
                match u8::try_from(n).map(char::from) {
                    Ok(c) if c.is_ascii_graphic() || c == ' ' => Some(Value::from(c.to_string())),
                    _ => Some(Integer::decode(n, bits.signed, bits.width)?.to_json()),
                }
            }
            Shape::Int(bits) => {
                let n = self.bits(spot, bits)?;
                Some(Integer::decode(n, bits.signed, bits.width)?.to_json())
            }
            Shape::Enum(t, bits) => self.enumerator(spot, t, bits),
            Shape::Float(width) => self.float(spot, width),
            Shape::Array {
                element,
                length,
                text,
            } => self.array(spot, element, length, text, depth),
            Shape::Struct(t) => {
                let mut members = Map::new();
                self.members(spot.start, t, &mut members, depth)?;
                Some(Value::Object(members))
            }
            Shape::Union(t) => {
                let mut members = Map::new();
                self.largest(spot.start, t, &mut members, depth)?;
                (members.len() == 1).then_some(Value::Object(members))
            }
        }
    }

    fn bits(&self, spot: Spot, bits: Bits) -> Option<u128> {
        let start = spot.start.checked_add(bits.offset)?;
        bits::read(self.bytes, self.btf.endian(), start, bits.width)
    }

    fn enumerator(&mut self, spot: Spot, t: Type<'a>, bits: Bits) -> Option<Value> {
        let n = self.bits(spot, bits)?;
        for enumerator in t.enumerators() {
            self.budget.spend(1).ok()?;
            if enumerator_bits(&t, enumerator.value, bits) == Some(n) && !enumerator.name().is_empty() {
                self.budget.spend(enumerator.name().len() as u64).ok()?;
                return Some(Value::from(enumerator.name()));
            }
        }
        Some(Integer::decode(n, bits.signed, bits.width)?.to_json())
    }

    fn float(&self, spot: Spot, width: u32) -> Option<Value> {
        let n = bits::read(self.bytes, self.btf.endian(), spot.start, width)?;
        let n = if width == 64 {
            f64::from_bits(u64::try_from(n).ok()?)
        } else {
            // Through its shortest decimal, so that 0.1 is read as 0.1 and not as 0.10000000149011612.
            f32::from_bits(u32::try_from(n).ok()?).to_string().parse().ok()?
        };
        serde_json::Number::from_f64(n).map(Value::Number)
    }

    fn array(&mut self, spot: Spot, element: u32, length: u32, text: bool, depth: usize) -> Option<Value> {
        let size = u64::from(self.btf.size(element)?);
        if text && let Some(text) = self.text(spot, length) {
            return Some(Value::from(text));
        }
        let mut items = Vec::new();
        for index in 0..u64::from(length) {
            let start = spot.start.checked_add((size * 8).checked_mul(index)?)?;
            let part = Spot {
                type_id: element,
                start,
                field: 0,
            };
            items.push(self.value(part, depth + 1)?);
        }
        Some(Value::Array(items))
    }

    /// An array of characters as text, if it is one with only zeros after it.
    fn text(&mut self, spot: Spot, length: u32) -> Option<String> {
        self.budget.spend(length.into()).ok()?;
        let start = usize::try_from(spot.start / 8)
            .ok()
            .filter(|_| spot.start.is_multiple_of(8))?;
        let all = self.bytes.get(start..start.checked_add(length as usize)?)?;
        let end = all.iter().position(|b| *b == 0)?;
        let (text, rest) = all.split_at_checked(end)?;
        let text = std::str::from_utf8(text).ok()?;
        rest.iter().all(|b| *b == 0).then(|| text.into())
    }

    fn members(
        &mut self,
        start: u64,
        t: Type<'a>,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        for index in 0..t.count() {
            self.member(start, t, index, into, depth)?;
        }
        Some(())
    }

    /// The first of a union's largest members.
    fn largest(
        &mut self,
        start: u64,
        t: Type<'a>,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        let mut largest: Option<(u64, u32)> = None;
        for (index, member) in (0..t.count()).zip(t.members()) {
            self.budget.spend(1).ok()?;
            let bits = match member.bit_size {
                0 => self
                    .btf
                    .size(member.type_id)
                    .map_or(0, |size| u64::from(size) * 8),
                bits => bits.into(),
            };
            if largest.is_none_or(|(most, _)| bits > most) {
                largest = Some((bits, index));
            }
        }
        match largest {
            Some((_, index)) => self.member(start, t, index, into, depth),
            None => Some(()),
        }
    }

    /// Adds a member if it has a value; `None` if that would go beyond a bound.
    fn member(
        &mut self,
        start: u64,
        t: Type<'a>,
        index: u32,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let member = t.member(index)?;
        let name = member.name();
        self.budget.spend(COST + name.len() as u64).ok()?;
        let start = start.checked_add(member.bit_offset.into())?;
        if !member.name_bytes().is_empty() {
            let spot = Spot {
                type_id: member.type_id,
                start,
                field: member.bit_size,
            };
            if let Some(value) = self.value(spot, depth + 1) {
                into.insert(name.into(), value);
            }
            return Some(());
        }
        // Those of an anonymous member are the outer one's.
        match Shape::of(self.btf, member.type_id, member.bit_size) {
            Ok(Shape::Struct(inner)) => self.members(start, inner, into, depth + 1),
            Ok(Shape::Union(inner)) => self.largest(start, inner, into, depth + 1),
            _ => Some(()),
        }
    }
}
