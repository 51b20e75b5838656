//! Writes what has parts: texts, arrays, structs and unions.

use btf::Type;
use serde_json::{Map, Value};

use super::c_type::shortened;
use super::error::{Alternatives, GlobalError};
use super::fits::LISTED;
use super::member;
use super::refuse::shown_text;
use super::suggest::closest;
use super::write::{COMPARED, Spot, Step, Writer};

impl<'a> Writer<'a> {
    pub(super) fn text(&mut self, spot: Spot, length: u32, text: &str) -> Result<(), GlobalError> {
        if let Some(position) = text.bytes().position(|b| b == 0) {
            let at = self.target(spot);
            return Err(GlobalError::EmbeddedNul { at, position });
        }
        // An array without a length has no shape.
        let room = u64::from(length).saturating_sub(1);
        if text.len() as u64 > room {
            return Err(GlobalError::TextTooLong {
                at: self.target(spot),
                length: text.len() as u64,
                room,
            });
        }
        let to = self.bytes_of(spot, 0, length.into())?;
        let (head, tail) = to.split_at_mut(text.len().min(to.len()));
        head.copy_from_slice(text.as_bytes());
        tail.fill(0);
        Ok(())
    }

    pub(super) fn array(
        &mut self,
        spot: Spot,
        element: u32,
        length: u32,
        items: &'a [Value],
    ) -> Result<(), GlobalError> {
        if items.len() as u64 > u64::from(length) {
            return Err(GlobalError::TooManyElements {
                at: self.target(spot),
                given: items.len() as u64,
                length,
            });
        }
        let Some(size) = self.btf.size(element).map(u64::from) else {
            return Err(self.malformed(spot, "the elements of the array have no size".into()));
        };
        for (index, item) in items.iter().enumerate() {
            let start = spot.start.saturating_add((size * 8).saturating_mul(index as u64));
            self.path.push(Step::Index(index));
            let part = Spot {
                type_id: element,
                start,
                field: 0,
            };
            self.value(part, item)?;
            self.path.pop();
        }
        let done = size.saturating_mul(items.len() as u64);
        self.bytes_of(spot, done, size.saturating_mul(length.into()))?
            .fill(0);
        Ok(())
    }

    pub(super) fn members(
        &mut self,
        spot: Spot,
        t: Type<'a>,
        given: &'a Map<String, Value>,
    ) -> Result<(), GlobalError> {
        let mut parts = Vec::new();
        for (name, value) in given {
            let found = member::find(self.btf, t, name.as_bytes(), self.budget)
                .map_err(|e| self.exceeded(spot, e))?
                .filter(|_| !name.is_empty());
            let Some(found) = found else {
                let (known, _) = member::names(self.btf, t, self.budget, COMPARED);
                let closest = closest(name, known, self.budget);
                let (names, more) = member::names(self.btf, t, self.budget, LISTED);
                let names = names.iter().map(|name| shortened(name.as_bytes())).collect();
                return Err(GlobalError::UnknownMember {
                    at: self.target(spot),
                    member: shown_text(name),
                    instead: Box::new(Alternatives { closest, names, more }),
                });
            };
            parts.push((found, name, value));
        }
        // Members of one union stand together then.
        parts.sort_by(|a, b| a.0.route.cmp(&b.0.route));
        for ((a, first, _), (b, second, _)) in parts.iter().zip(parts.iter().skip(1)) {
            if a.shares_bytes_with(b) {
                return Err(self.union_members(spot, [*first, *second].into_iter()));
            }
        }
        for (found, name, value) in parts {
            self.path.push(Step::Name(name));
            let part = Spot {
                type_id: found.type_id,
                start: spot.start.saturating_add(found.bit_offset),
                field: found.bit_size,
            };
            self.value(part, value)?;
            self.path.pop();
        }
        Ok(())
    }

    /// Bytes `from` to `to` of an array at a place.
    fn bytes_of(&mut self, spot: Spot, from: u64, to: u64) -> Result<&mut [u8], GlobalError> {
        let cost = to.saturating_sub(from) / 64;
        self.budget.spend(cost).map_err(|e| self.exceeded(spot, e))?;
        if !spot.start.is_multiple_of(8) {
            return Err(self.malformed(spot, "an array that begins within a byte".into()));
        }
        let place = |at: u64| usize::try_from((spot.start / 8).saturating_add(at)).ok();
        let range = place(from).zip(place(to));
        match range.filter(|(from, to)| from <= to && *to <= self.bytes.len()) {
            Some((from, to)) => Ok(self.bytes.get_mut(from..to).unwrap_or_default()),
            None => Err(self.malformed(spot, "it goes on beyond the end of its variable".into())),
        }
    }
}
