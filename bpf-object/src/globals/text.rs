//! Values that come as text.

use btf::Btf;
use serde_json::Value;

use super::list::Global;
use super::shape::Shape;

/// The JSON value that a text stands for: of a ConfigMap, where every value is text.
///
/// For `char` and arrays of it it is the text itself without a line break at its end, for integers and enums the text without white space around
/// it. Bools, floats and everything with parts are read as JSON; what is no JSON stays text, so that
/// [`set`](super::set) says what would fit.
pub fn value_of_text(btf: &Btf<'_>, global: &Global, text: &str) -> Value {
    match Shape::of(btf, global.type_id, 0) {
        Ok(Shape::Array { text: true, .. } | Shape::Char(_)) => {
            // A block of YAML ends in a line break that nobody means.
            Value::from(text.strip_suffix('\n').unwrap_or(text))
        }
        Ok(Shape::Int(_) | Shape::Enum(..)) => Value::from(text.trim()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.trim())),
    }
}
