//! What lies in an image: paths with modes and bytes, in one order.

use std::collections::BTreeMap;

/// Longest path that tar can hold without extensions that some readers do not know.
const MAX_PATH: usize = 100;

/// A file or directory. All belong to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory {
        /// Permissions, with the sticky bit.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permissions.
        mode: u32,
        /// Content.
        bytes: Vec<u8>,
    },
}

/// Why a path cannot be in an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} cannot be in an image: {why}")]
pub struct PathError {
    /// The path.
    pub path: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Files and directories by path, sorted, each directory before what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// An empty one.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Adds something at an absolute path, and the directories above it (mode 0755) where they are missing.
    ///
    /// # Errors
    /// The path is not plain and absolute, or something else is there already.
    pub fn add(&mut self, path: &str, node: Node) -> Result<(), PathError> {
        let wrong = |why| PathError {
            path: path.to_owned(),
            why,
        };
        let Some(relative) = path.strip_prefix('/') else {
            return Err(wrong("it must begin with /"));
        };
        if relative.len() > MAX_PATH - 1 {
            return Err(wrong("it is longer than 99 bytes"));
        }
        if relative.contains(['\0', '\\']) || relative.chars().any(char::is_control) {
            return Err(wrong("it has a control character or a backslash"));
        }
        let parts: Vec<&str> = relative.split('/').collect();
        if parts.iter().any(|part| ["", ".", ".."].contains(part)) {
            return Err(wrong("it has an empty part, '.' or '..'"));
        }
        if parts.iter().any(|part| part.starts_with(".wh.")) {
            return Err(wrong("names beginning with .wh. delete files in an OCI layer"));
        }
        let parents = relative.match_indices('/').map(|(at, _)| &relative[..at]);
        for parent in parents.clone() {
            if matches!(self.0.get(parent), Some(Node::File { .. })) {
                return Err(wrong("what stands above it is a file"));
            }
        }
        if self.0.contains_key(relative) {
            return Err(wrong("something is there already"));
        }
        for parent in parents {
            let directory = Node::Directory { mode: 0o755 };
            self.0.entry(parent.to_owned()).or_insert(directory);
        }
        self.0.insert(relative.to_owned(), node);
        Ok(())
    }

    /// Everything in it, with paths that have no leading `/`, in the order of an archive.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The sum of the files' sizes: what the image takes when it is unpacked.
    pub fn size(&self) -> u64 {
        let sizes = self.0.values().map(|node| match node {
            Node::Directory { .. } => 0,
            Node::File { bytes, .. } => bytes.len() as u64,
        });
        sizes.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: Node = Node::Directory { mode: 0o755 };

    #[test]
    fn directories_come_before_what_is_in_them() {
        let mut tree = Tree::new();
        tree.add("/b/c/d", DIRECTORY).unwrap();
        tree.add("/a", DIRECTORY).unwrap();
        let paths: Vec<&str> = tree.entries().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a", "b", "b/c", "b/c/d"]);
    }

    #[test]
    fn paths_that_leave_the_image_or_mean_something_else_are_refused() {
        for path in [
            "a",
            "",
            "/",
            "/a//b",
            "/../a",
            "/a/.",
            "/a\0",
            "/a\n",
            "/etc/.wh.passwd",
        ] {
            assert!(Tree::new().add(path, DIRECTORY).is_err(), "{path:?}");
        }
        assert!(
            Tree::new()
                .add(&format!("/{}", "x".repeat(99)), DIRECTORY)
                .is_ok()
        );
        assert!(
            Tree::new()
                .add(&format!("/{}", "x".repeat(100)), DIRECTORY)
                .is_err()
        );
    }

    #[test]
    fn nothing_is_replaced_in_silence() {
        let file = Node::File {
            mode: 0o644,
            bytes: vec![],
        };
        let mut tree = Tree::new();
        tree.add("/a", file.clone()).unwrap();
        assert!(tree.add("/a", file.clone()).is_err());
        assert!(tree.add("/a/b", file).is_err());
    }
}
