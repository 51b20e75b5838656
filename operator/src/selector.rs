//! Which nodes a LabelSelector selects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

/// A checked label selector.
#[derive(Clone, Debug)]
pub struct NodeSelector(Selector);

impl PartialEq for NodeSelector {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl NodeSelector {
    /// Checks a selector; none selects every node.
    ///
    /// # Errors
    /// A text that says what is wrong and what to write instead.
    pub fn new(selector: Option<&LabelSelector>) -> Result<Self, String> {
        let Some(selector) = selector else {
            return Ok(Self(Selector::default()));
        };
        for (key, value) in selector.match_labels.iter().flatten() {
            check_key(key, "matchLabels")?;
            check_value(value, key)?;
        }
        for expression in selector.match_expressions.iter().flatten() {
            let (key, operator) = (&expression.key, expression.operator.as_str());
            check_key(key, "matchExpressions")?;
            let values = expression.values.as_deref().unwrap_or_default();
            values.iter().try_for_each(|value| check_value(value, key))?;
            match operator {
                "In" | "NotIn" if values.is_empty() => {
                    return Err(format!(
                        "nodeSelector.matchExpressions: {key} {operator} needs at least one value"
                    ));
                }
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    return Err(format!(
                        "nodeSelector.matchExpressions: {key} {operator} takes no values; use In or NotIn"
                    ));
                }
                "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
                other => {
                    return Err(format!(
                        "nodeSelector.matchExpressions: {other:?} is no operator; use In, NotIn, Exists or DoesNotExist"
                    ));
                }
            }
        }
        Selector::try_from(selector.clone())
            .map(Self)
            .map_err(|error| format!("nodeSelector: {error}"))
    }

    /// Whether a node with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

fn check_key(key: &str, place: &str) -> Result<(), String> {
    let (prefix, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.'))
    });
    if prefix_ok && !name.is_empty() && is_word(name) {
        Ok(())
    } else {
        Err(format!(
            "nodeSelector.{place}: {key:?} cannot be a label's key; no node carries it"
        ))
    }
}

fn check_value(value: &str, key: &str) -> Result<(), String> {
    if value.is_empty() || is_word(value) {
        Ok(())
    } else {
        Err(format!(
            "nodeSelector: {value:?} cannot be the value of label {key}; no node carries it"
        ))
    }
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn selector(value: Value) -> Result<NodeSelector, String> {
        NodeSelector::new(Some(&serde_json::from_value(value).unwrap()))
    }

    #[rstest]
    #[case::empty_selects_all(json!({}), true)]
    #[case::label_equal(json!({"matchLabels": {"zone": "a"}}), true)]
    #[case::label_other(json!({"matchLabels": {"zone": "b"}}), false)]
    #[case::label_absent(json!({"matchLabels": {"gpu": "yes"}}), false)]
    #[case::value_in(json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b", "a"]}]}), true)]
    #[case::value_not_in(json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), false)]
    #[case::absent_is_not_in(json!({"matchExpressions": [{"key": "gpu", "operator": "NotIn", "values": ["a"]}]}), true)]
    #[case::exists(json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), true)]
    #[case::does_not_exist(json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), false)]
    #[case::all_must_hold(json!({"matchLabels": {"zone": "a"}, "matchExpressions": [{"key": "gpu", "operator": "Exists"}]}), false)]
    fn a_selector_means_what_kubernetes_says(#[case] value: Value, #[case] selected: bool) {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        assert_eq!(selector(value).unwrap().matches(&labels), selected);
    }

    #[rstest]
    #[case::operator(json!({"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["1"]}]}), "is no operator")]
    #[case::no_values(json!({"matchExpressions": [{"key": "zone", "operator": "In"}]}), "needs at least one value")]
    #[case::needless_values(json!({"matchExpressions": [{"key": "zone", "operator": "Exists", "values": ["a"]}]}), "takes no values")]
    #[case::key(json!({"matchLabels": {"two words": "a"}}), "cannot be a label's key")]
    #[case::value(json!({"matchLabels": {"zone": "-"}}), "cannot be the value of label zone")]
    fn a_selector_that_means_nothing_is_refused(#[case] value: Value, #[case] message: &str) {
        let error = selector(value).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
