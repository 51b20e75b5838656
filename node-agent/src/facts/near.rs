//! Names that come close to one that is not there.

/// Most names that are offered.
const OFFERED: usize = 3;

/// Collects the closest of many names without keeping the others.
#[derive(Clone, Debug)]
pub struct Near {
    wanted: String,
    limit: usize,
    letters: Letters,
    best: Vec<(usize, String)>,
}

impl Near {
    /// Close to this name: every fourth letter may differ, two at least and five at most.
    pub fn new(wanted: &str) -> Self {
        Self {
            wanted: wanted.to_owned(),
            letters: letters(wanted),
            limit: (wanted.len() / 4).clamp(2, 5),
            best: Vec::new(),
        }
    }

    /// Is it this one?
    pub fn offer(&mut self, name: &str) {
        if name.len().abs_diff(self.wanted.len()) > self.limit || name == self.wanted {
            return;
        }
        // Cheap, and enough for nearly all names: every edit changes at most one letter for another.
        if apart(&self.letters, &letters(name)) > self.limit {
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

/// How often each letter is there, a few letters in one place.
type Letters = [u8; 32];

fn letters(name: &str) -> Letters {
    let mut letters = [0u8; 32];
    for byte in name.bytes() {
        if let Some(count) = letters.get_mut(usize::from(byte & 31)) {
            *count = count.saturating_add(1);
        }
    }
    letters
}

/// At least so many edits lie between two names.
fn apart(one: &Letters, other: &Letters) -> usize {
    let (mut more, mut less) = (0, 0);
    for (a, b) in one.iter().zip(other) {
        more += usize::from(a.saturating_sub(*b));
        less += usize::from(b.saturating_sub(*a));
    }
    more.max(less)
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
    fn letters_never_lie_further_apart_than_edits() {
        let names = [
            "",
            "a",
            "do_unlinkat",
            "do_linkat",
            "tcp_v4_rcv",
            "tcp_v6_rcv",
            "kitten",
            "sitting",
            "ÄÖ",
        ];
        for one in names {
            for other in names {
                // Counted in bytes, of which a letter can have several.
                let edits = strsim::generic_levenshtein(&one.as_bytes().to_vec(), &other.as_bytes().to_vec());
                assert!(apart(&letters(one), &letters(other)) <= edits, "{one} {other}");
            }
        }
    }

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
