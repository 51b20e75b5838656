//! Which nameless types are equal (pointers to nothing, above all): one of them is written for all.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::keep::{Kept, Key};
use super::write::define;

/// What is kept by number, and which of them stand for others.
pub(crate) struct Equal {
    numbers: HashMap<Key, u32>,
    /// The one that stands for each, or leads there; itself.
    stands: Vec<Cell<u32>>,
}

impl Equal {
    pub(crate) fn new(kept: &Kept<'_>) -> Self {
        let keys: Vec<Key> = kept.types.keys().copied().collect();
        let equal = Equal {
            numbers: keys.iter().copied().zip(0..).collect(),
            stands: (0..).map(Cell::new).take(keys.len()).collect(),
        };
        let definition = |number: u32, to: &dyn Fn(Key) -> u32| {
            let key = keys.get(number as usize)?;
            let keep = kept.types.get(key).filter(|keep| !keep.named)?;
            define(kept, *key, keep, to)
        };
        // Only types that refer to one that another came to stand for can become equal: what refers to each.
        let mut referrers: HashMap<u32, Vec<u32>> = HashMap::new();
        for number in (0..).take(keys.len()) {
            let targets = RefCell::new(BTreeSet::new());
            definition(number, &|key| {
                targets.borrow_mut().extend(equal.numbers.get(&key));
                0
            });
            for target in targets.into_inner() {
                referrers.entry(target).or_default().push(number);
            }
        }
        let mut open: BTreeSet<u32> = (0..).take(keys.len()).collect();
        let mut seen = HashMap::new();
        while !open.is_empty() {
            let mut next = BTreeSet::new();
            for number in open {
                if equal.stand(number) != number {
                    continue;
                }
                // 0 is void.
                let Some(d) = definition(number, &|key| equal.of(key).map_or(0, |n| n.saturating_add(1)))
                else {
                    continue;
                };
                match seen.entry(d) {
                    Entry::Vacant(new) => {
                        new.insert(number);
                    }
                    Entry::Occupied(mut known) if *known.get() != number => {
                        let (first, other) = (number.min(*known.get()), number.max(*known.get()));
                        known.insert(first);
                        if let Some(stands) = equal.stands.get(other as usize) {
                            stands.set(first);
                        }
                        next.extend(referrers.get(&other).into_iter().flatten());
                    }
                    Entry::Occupied(_) => {}
                }
            }
            open = next;
        }
        equal
    }

    /// Number of the type that is written for this one.
    pub(crate) fn of(&self, key: Key) -> Option<u32> {
        self.numbers.get(&key).map(|number| self.stand(*number))
    }

    /// Whether the type itself is written.
    pub(crate) fn is_written(&self, key: Key) -> bool {
        self.numbers.get(&key).is_some_and(|n| self.stand(*n) == *n)
    }

    fn stand(&self, number: u32) -> u32 {
        let mut number = number;
        // Each leads to one with a smaller number, or is its own.
        while let Some(stands) = self.stands.get(number as usize)
            && stands.get() != number
        {
            let beyond = self.stands.get(stands.get() as usize).map_or(0, Cell::get);
            // The way is half as long the next time.
            stands.set(beyond);
            number = beyond;
        }
        number
    }
}
