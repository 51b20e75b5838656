//! The container images of operator and agent, without a container engine.
//!
//! Everything between a file's bytes and an image's digest is a pure function of values: [`tree`] (what lies
//! where) → [`layer`] (a tar archive and its gzip) → [`image`] (config, manifest, index) → [`layout`] (the
//! files of an OCI image layout). The same input gives the same digest, whatever the order, the place, or the
//! clock. [`store`] and [`push`] are the edges: files, and `skopeo`.
//!
//! `Containerfile` in the repository's root makes the same images with an engine; a test compares both with
//! [`component`], which says what the images are.

pub mod binary;
pub mod blob;
pub mod cli;
pub mod component;
pub mod image;
pub mod layer;
pub mod layout;
pub mod push;
pub mod report;
pub mod store;
pub mod tree;
