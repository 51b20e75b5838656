//! What would fit into a type, in words.

use btf::{Btf, Type};

use super::budget::Budget;
use super::c_type::{c_type, shortened};
use super::member;
use super::number::range;
use super::shape::{Bits, Shape};
use super::suggest::listed;

/// Most names that a message lists.
pub(super) const LISTED: usize = 12;

/// What would fit, to be put after "give".
pub(super) fn fits<'b>(btf: &'b Btf<'b>, shape: Shape<'b>, budget: &mut Budget) -> String {
    match shape {
        Shape::Bool(_) => "true or false".into(),
        Shape::Char(bits) => format!("a string of one character or {}", integer(bits)),
        Shape::Int(bits) => integer(bits),
        Shape::Float(_) => "a number".into(),
        Shape::Enum(t, bits) => {
            let (names, more) = enumerators(t, budget);
            match names.as_slice() {
                [] => integer(bits),
                names => format!("one of {}, or {}", listed(names, more), integer(bits)),
            }
        }
        Shape::Array {
            length, text: true, ..
        } => format!(
            "a string of at most {} bytes or a list of at most {length} numbers",
            length - 1
        ),
        Shape::Array { element, length, .. } => {
            format!("a list of at most {length} {}", c_type(btf, element))
        }
        Shape::Struct(t) | Shape::Union(t) => {
            let (names, more) = member::names(btf, t, budget, LISTED);
            let names: Vec<String> = names.iter().map(|name| shortened(name.as_bytes())).collect();
            let which = match shape {
                Shape::Union(_) => "one member",
                _ => "some members",
            };
            format!("an object with {which} of {}", listed(&names, more))
        }
    }
}

/// A range; where it goes beyond what the Kubernetes API keeps exactly, with how to write such integers.
fn integer(bits: Bits) -> String {
    let (min, max) = range(bits.signed, bits.width);
    let wide = bits.width > 64 || bits.width == 64 && !bits.signed;
    let hint = if wide {
        ", above 9223372036854775807 as a string"
    } else {
        ""
    };
    format!("an integer from {min} to {max}{hint}")
}

/// Some names of an enum, and how many more there are.
pub(super) fn enumerators(t: Type<'_>, budget: &mut Budget) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    for enumerator in t.enumerators().take(LISTED) {
        let name = enumerator.name_bytes();
        if budget.look(name.len()).is_err() {
            break;
        }
        names.push(shortened(name));
    }
    let more = (t.count() as usize).saturating_sub(names.len());
    (names, more)
}
