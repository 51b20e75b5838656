//! Names to offer for one that is not there.

use super::budget::Budget;

/// Longest name that is compared, in bytes: identifiers of C are shorter.
const MAX_COMPARED: usize = 128;
/// Most names that are offered.
const OFFERED: usize = 3;

/// The names in `known` closest to `wanted`, at most three, nearest first; none that is wholly different.
pub(super) fn closest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
    budget: &mut Budget,
) -> Vec<String> {
    if wanted.len() > MAX_COMPARED {
        return Vec::new();
    }
    let limit = (wanted.len() / 2).max(2);
    let mut near: Vec<(usize, &str)> = Vec::new();
    for name in known {
        // Names that differ in length by more than the limit are no match, whatever is in them.
        if name.is_empty() || name.len() > MAX_COMPARED * 2 || name.len().abs_diff(wanted.len()) > limit {
            continue;
        }
        if budget.spend(1 + (name.len() * wanted.len()) as u64 / 32).is_err() {
            break;
        }
        let distance = strsim::osa_distance(wanted, name);
        if distance <= limit {
            near.push((distance, name));
        }
    }
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(OFFERED)
        .map(|(_, name)| name.into())
        .collect()
}

/// `a, b and c`; with `more` that are not among them: `a, b, c and 5 more`.
pub(crate) fn listed(names: &[String], more: usize) -> String {
    match (names, more) {
        ([], 0) => "none".into(),
        ([], more) => format!("{more}"),
        (names, 1..) => format!("{} and {more} more", names.join(", ")),
        ([one], 0) => one.clone(),
        ([head @ .., last], 0) => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_offered_and_far_ones_not() {
        let mut budget = Budget::new();
        let known = ["min_us", "max_us", "targ_ms", "use_fancy_helper"];
        assert_eq!(closest("min_su", known, &mut budget), ["min_us", "max_us"]);
        assert!(closest("unlike_any_of_these", known, &mut budget).is_empty());
    }

    #[test]
    fn lists_read_as_text() {
        let names = |n: &[&str]| n.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(listed(&names(&["a"]), 0), "a");
        assert_eq!(listed(&names(&["a", "b", "c"]), 0), "a, b and c");
        assert_eq!(listed(&names(&["a", "b"]), 5), "a, b and 5 more");
        assert_eq!(listed(&[], 0), "none");
    }
}
