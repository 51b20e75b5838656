//! Names that come close to one that is not there.

/// Most names that are offered.
const OFFERED: usize = 3;

/// Collects the closest of many names without keeping the others.
#[derive(Clone, Debug)]
pub struct Near {
    wanted: String,
    limit: usize,
    best: Vec<(usize, String)>,
}

impl Near {
    /// Close to this name: every fourth letter may differ, two at least and five at most.
    pub fn new(wanted: &str) -> Self {
        Self {
            wanted: wanted.to_owned(),
            limit: (wanted.len() / 4).clamp(2, 5),
            best: Vec::new(),
        }
    }

    /// Is it this one?
    pub fn offer(&mut self, name: &str) {
        if name.len().abs_diff(self.wanted.len()) > self.limit || name == self.wanted {
            return;
        }
        let distance = strsim::levenshtein(&self.wanted, name);
        if distance > self.limit || self.best.iter().any(|(_, known)| known == name) {
            return;
        }
        self.best.push((distance, name.to_owned()));
        self.best.sort_unstable();
        self.best.truncate(OFFERED);
    }

    /// The closest, best first.
    pub fn names(&self) -> Vec<String> {
        self.best.iter().map(|(_, name)| name.clone()).collect()
    }
}

/// `; did you mean a or b?`, or nothing.
pub fn hint(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", names.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_are_offered_best_first_and_far_ones_not() {
        let mut near = Near::new("do_unlinkatt");
        for name in [
            "do_unlinkat",
            "do_linkat",
            "do_exit",
            "vfs_unlink",
            "do_unlinkat",
            "do_unlinkattt",
        ] {
            near.offer(name);
        }
        assert_eq!(near.names(), ["do_unlinkat", "do_unlinkattt", "do_linkat"]);
        assert_eq!(
            hint(&near.names()[..2]),
            "; did you mean do_unlinkat or do_unlinkattt?"
        );
        assert_eq!(hint(&[]), "");
    }
}
