//! The registry that tests pull from.

use bpfleet_e2e::http;
use bpfleet_e2e::push::{Layer, digest};
use bpfleet_e2e::registry::Registry;

/// The blobs that a manifest names, as the registry has them.
fn layers_of(registry: &Registry, manifest: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read(registry.blob_file(manifest)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let digests = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap());
    digests
        .map(|digest| std::fs::read(registry.blob_file(digest)).unwrap())
        .collect()
}

#[test]
fn artifacts_images_and_indexes_can_be_pushed_and_read_by_digest() {
    let registry = Registry::start().unwrap();
    let artifact = registry
        .push_artifact("test/object", "one", &[Layer::file("x.bpf.o", b"object")])
        .unwrap();
    assert_eq!(layers_of(&registry, &artifact), [b"object"]);

    let tar = Layer::tar(&[("x.bpf.o", b"object")]).unwrap();
    let gzip = Layer::tar_gzip(&[("x.bpf.o", b"object")]).unwrap();
    assert!(gzip.bytes.starts_with(&[0x1f, 0x8b]));
    let plain = registry
        .push_image("test/image", "plain", "amd64", std::slice::from_ref(&tar))
        .unwrap();
    let packed = registry
        .push_image("test/image", "packed", "arm64", std::slice::from_ref(&gzip))
        .unwrap();
    assert_eq!(layers_of(&registry, &plain), [tar.bytes]);
    assert_eq!(layers_of(&registry, &packed), [gzip.bytes]);

    let index = registry
        .push_index("test/image", "both", &[("amd64", &plain), ("arm64", &packed)])
        .unwrap();
    let text = std::fs::read(registry.blob_file(&index)).unwrap();
    assert_eq!(digest(&text), index);
    let index: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(index["manifests"][1]["platform"]["architecture"], "arm64");
}

#[test]
fn a_registry_with_a_password_refuses_strangers_and_takes_ours() {
    let registry = Registry::start_with_password().unwrap();
    registry
        .push_artifact("test/secret", "one", &[Layer::file("x.bpf.o", b"object")])
        .unwrap();
    let url = format!("http://{}/v2/test/secret/manifests/one", registry.host());
    assert_eq!(http::status(&url).unwrap(), 401);
}

#[test]
fn a_restarted_registry_has_what_was_pushed() {
    let mut registry = Registry::start().unwrap();
    registry
        .push_artifact("test/object", "one", &[Layer::file("x.bpf.o", b"object")])
        .unwrap();
    let url = format!(
        "http://{}/v2/test/object/blobs/{}",
        registry.host(),
        digest(b"object")
    );
    registry.kill().unwrap();
    assert!(http::status(&url).is_err());
    registry.restart().unwrap();
    assert_eq!(http::status(&url).unwrap(), 200);
}
