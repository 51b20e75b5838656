//! Names without their flavour.

/// A name without what follows its last `___` (libbpf's "essential name"): `task_struct___v46` and
/// `task_struct` name the same type in different versions. The characters around the underscores must
/// be others, and something must stand on either side.
pub fn essential(name: &[u8]) -> &[u8] {
    // Few names have a run of underscores at all.
    let mut end = name.len();
    while let Some(found) = name.get(..end).and_then(|head| memchr::memrchr(b'_', head)) {
        let Some(start) = found.checked_sub(3) else {
            return name;
        };
        if let Some([a, b'_', b'_', b'_', z]) = name.get(start..start + 5)
            && *a != b'_'
            && *z != b'_'
        {
            return name.get(..=start).unwrap_or(name);
        }
        end = found;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_before_the_last_triple_underscore_is_essential() {
        for (name, expected) in [
            ("", ""),
            ("a", "a"),
            ("task_struct", "task_struct"),
            ("task_struct___v46", "task_struct"),
            ("a___b___c", "a___b"),
            ("a___b", "a"),
            ("___b", "___b"),
            ("a___", "a___"),
            ("a____b", "a____b"),
            ("a__b", "a__b"),
            ("x___y____z", "x"),
            ("_a___b", "_a"),
        ] {
            assert_eq!(essential(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }
}
