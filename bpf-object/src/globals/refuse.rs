//! What is said of values that do not fit.

use std::borrow::Cow;

use serde_json::Value;

use super::budget::Exceeded;
use super::c_type::{c_type, shortened};
use super::error::{GlobalError, Target};
use super::fits::{LISTED, fits};
use super::shape::Shape;
use super::write::{Spot, Step, Writer};

/// Longest text of a value that a message shows, in characters.
const MAX_SHOWN: usize = 64;
/// Longest path that a message shows, in bytes.
const MAX_PATH: usize = 512;

impl<'a> Writer<'a> {
    pub(super) fn target(&self, spot: Spot) -> Target {
        let mut variable = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if variable.is_empty() => variable.push_str(&shortened(name.as_bytes())),
                Step::Name(name) => {
                    variable.push('.');
                    variable.push_str(&shortened(name.as_bytes()));
                }
                Step::Index(index) => variable.push_str(&format!("[{index}]")),
            }
            if variable.len() > MAX_PATH {
                variable.push('…');
                break;
            }
        }
        let mut c_type = c_type(self.btf, spot.type_id);
        if spot.field != 0 {
            c_type.push_str(&format!(":{}", spot.field));
        }
        Target { variable, c_type }
    }

    pub(super) fn wrong_type(&mut self, spot: Spot, shape: Shape<'a>, value: &Value) -> GlobalError {
        GlobalError::WrongType {
            at: self.target(spot),
            given: shown(value).into(),
            fits: fits(self.btf, shape, self.budget),
        }
    }

    pub(super) fn out_of_range(&mut self, spot: Spot, shape: Shape<'a>, value: &Value) -> GlobalError {
        GlobalError::OutOfRange {
            at: self.target(spot),
            given: shown(value).into(),
            fits: fits(self.btf, shape, self.budget),
        }
    }

    pub(super) fn union_members<'n>(
        &self,
        spot: Spot,
        given: impl ExactSizeIterator<Item = &'n String>,
    ) -> GlobalError {
        let count = given.len();
        let given: Vec<String> = given.take(LISTED).map(|name| shown_text(name)).collect();
        GlobalError::UnionMembers {
            at: self.target(spot),
            more: count.saturating_sub(given.len()),
            given,
        }
    }

    pub(super) fn malformed(&self, spot: Spot, detail: String) -> GlobalError {
        let at = self.target(spot);
        GlobalError::Malformed { at, detail }
    }

    pub(super) fn too_complex(&self, spot: Spot, what: &'static str) -> GlobalError {
        let at = self.target(spot);
        GlobalError::TooComplex { at, what }
    }

    pub(super) fn exceeded(&self, spot: Spot, _: Exceeded) -> GlobalError {
        self.too_complex(spot, "its type and value take too many steps")
    }
}

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Null => "null".into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Number(number) => number.to_string().into(),
        Value::String(text) => shown_text(text).into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// A text in quotes, cut at a bound.
pub(super) fn shown_text(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
