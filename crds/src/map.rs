//! Maps of a program: what they are to be, other than the object says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of one map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MapSettings {
    /// Name of the map: the C variable's name. At least one variant's object must have it.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Most entries, for maps whose size the object leaves to user space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_entries: Option<u32>,
    /// Size of a value in bytes, such as of a stack trace (8 for each frame).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub value_size: Option<u32>,
}
