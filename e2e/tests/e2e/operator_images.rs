//! The operator and registries that ask for a password, alter what they hold, or hold too much.

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bpfleet_crds::{Digest, names, object::MAX_OBJECT_BYTES};
use bpfleet_e2e::{
    Cluster, Kubectl, Node, Operator, Registry, diagnose, http,
    push::Layer,
    registry::{PASSWORD, USER},
    wait,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::operator_support::*;

/// The manifest type that the tests push by hand.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// bpfleet's own namespace.
const NAMESPACE: &str = "bpfleet-system";
/// One byte more than a layer may have.
const TOO_LARGE: usize = (64 << 20) + 1;

fn from_image(reference: &str) -> Value {
    json!({"image": {"reference": reference}})
}

fn delete_program(kubectl: &Kubectl, name: &str) {
    kubectl
        .run(&["delete", "bpfprogram", name, "--wait=false"])
        .unwrap();
}

/// A pull secret for one registry.
fn pull_secret(name: &str, registry: &str, password: &str) -> String {
    let auth = BASE64_STANDARD.encode(format!("{USER}:{password}"));
    let config = json!({"auths": {registry: {"auth": auth}}}).to_string();
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": {".dockerconfigjson": config}})
    .to_string()
}

#[test]
fn a_private_image_heals_as_soon_as_its_pull_secret_is_right() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-private").unwrap();
    let _report = diagnose::on_failure(&world.cluster);
    let registry = &world.private;
    let object = exec_object(1);
    registry
        .push_artifact("op/healing", "v1", &[Layer::file("x.bpf.o", &object)])
        .unwrap();
    let source = json!({"image": {"reference": format!("{}/op/healing:v1", registry.host()),
        "pullSecret": {"name": "op-healing"}}});
    kubectl
        .apply(&program("img-private", node.name(), source).to_string())
        .unwrap();
    let accepted = |expected: &str| wait_condition(&kubectl, "img-private", "Accepted", expected);
    let seen = accepted("False/InvalidPullSecret: there is no Secret");
    assert!(
        seen.contains("kubectl create secret docker-registry op-healing"),
        "{seen}"
    );

    // From here on nobody touches the BpfProgram.
    let opaque = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"password": "hunter2"},
        "metadata": {"name": "op-healing", "namespace": NAMESPACE}});
    kubectl.apply(&opaque.to_string()).unwrap();
    let seen = accepted("False/InvalidPullSecret: Secret op-healing");
    assert!(
        seen.contains("is of type Opaque, not kubernetes.io/dockerconfigjson"),
        "{seen}"
    );
    delete_own(&kubectl, "secret/op-healing");

    let apply =
        |host: &str, password: &str| kubectl.apply(&pull_secret("op-healing", host, password)).unwrap();
    apply("registry.example", PASSWORD);
    let seen = accepted("False/RegistryDenied");
    let wanted = format!(
        "set image.pullSecret to a Secret that has credentials for {}",
        registry.host()
    );
    assert!(seen.contains(&wanted), "{seen}");

    apply(&registry.host(), "hunter2");
    let seen = wait::until("the word on the password", SOON, || {
        let seen = condition(&kubectl, "img-private", "Accepted");
        let told = seen.contains("put credentials that may pull it into the Secret");
        if told { Ok(seen) } else { Err(seen) }
    })
    .unwrap();
    assert!(
        seen.starts_with("False/RegistryDenied") && !seen.contains("hunter2"),
        "{seen}"
    );

    apply(&registry.host(), PASSWORD);
    let since = Instant::now();
    accepted("True/Valid");
    assert!(
        since.elapsed() < Duration::from_secs(35),
        "it took {:?}",
        since.elapsed()
    );
    let revision = wait_wanted(&kubectl, node.name(), "img-private", None);
    let made = kubectl.get_json(&["bpfrevision", &revision]).unwrap();
    assert_eq!(
        made["spec"]["variants"][0]["objects"][0]["digest"],
        Digest::of(&object).to_string()
    );
    delete_program(&kubectl, "img-private");
    delete_own(&kubectl, "secret/op-healing");
}

/// Flips a bit in the last byte of a file.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn what_a_registry_altered_is_refused_and_what_runs_goes_on() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-altered").unwrap();
    let _report = diagnose::on_failure(&world.cluster);
    let registry = &world.registry;
    let (one, two) = (exec_object(1), exec_object(2));
    let push = |tag: &str, layer: Layer| registry.push_artifact("op/altered", tag, &[layer]).unwrap();
    // Objects that no other test pushes: blobs are shared by all repositories.
    let padded = |object: &[u8], pad: &[u8]| [object, pad].concat();
    let (good, file) = (padded(&one, b"altered-1"), padded(&two, b"altered-2"));
    push("good", Layer::file("x.bpf.o", &good));
    let by_manifest = push("manifest", Layer::file("x.bpf.o", &padded(&one, b"altered-3")));
    push("file", Layer::file("x.bpf.o", &file));
    let gzip = Layer::tar_gzip(&[("x.bpf.o", &padded(&one, b"altered-4"))]).unwrap();
    push("gzip", gzip.clone());
    let blob = |bytes: &[u8]| registry.blob_file(&Digest::of(bytes).to_string());
    for altered in [blob(&file), blob(&gzip.bytes)] {
        damage(&altered);
    }
    // A space more is still the same JSON.
    let manifest = registry.blob_file(&by_manifest);
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen('{', "{ ", 1)).unwrap();

    let reference = |tag: &str| from_image(&format!("{}/op/altered{tag}", registry.host()));
    let apply = |name: &str, tag: &str| {
        kubectl
            .apply(&program(name, node.name(), reference(tag)).to_string())
            .unwrap()
    };
    apply("alt-file", ":good");
    apply("alt-gzip", ":gzip");
    apply("alt-manifest", &format!("@{by_manifest}"));
    let first = wait_wanted(&kubectl, node.name(), "alt-file", None);
    apply("alt-file", ":file");
    for name in ["alt-file", "alt-gzip", "alt-manifest"] {
        let seen = wait_condition(&kubectl, name, "Accepted", "False/DigestMismatch");
        assert!(seen.contains("altered it"), "{seen}");
    }
    assert_eq!(
        wanted(&kubectl, node.name(), "alt-file"),
        Some(first.clone()),
        "it goes on"
    );
    for name in ["alt-gzip", "alt-manifest"] {
        assert_eq!(wanted(&kubectl, node.name(), name), None, "{name} was rolled out");
    }
    let revisions = kubectl.get_json(&["bpfrevisions"]).unwrap();
    let made = revisions["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|revision| revision["spec"]["program"].as_str().unwrap().starts_with("alt-"));
    assert_eq!(made.count(), 1, "only the good one");

    damage(&blob(&file));
    let second = wait_wanted(&kubectl, node.name(), "alt-file", Some(&first));
    let made = kubectl.get_json(&["bpfrevision", &second]).unwrap();
    assert_eq!(
        made["spec"]["variants"][0]["objects"][0]["digest"],
        Digest::of(&file).to_string()
    );
    for name in ["alt-file", "alt-gzip", "alt-manifest"] {
        delete_program(&kubectl, name);
    }
}

/// The tar header of a file of zeros.
fn tar_header(name: &str, size: u64) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A gzipped tar of one file with this many times 4 MiB of zeros; gzip's members simply follow each other.
fn gzip_of_zeros(name: &str, times: u64) -> Layer {
    let member = gzip(&vec![0; 4 << 20]);
    let mut bytes = gzip(&tar_header(name, times * (4 << 20)));
    for _ in 0..times {
        bytes.extend_from_slice(&member);
    }
    bytes.extend_from_slice(&gzip(&[0; 1024]));
    Layer {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        bytes,
        annotations: Vec::new(),
    }
}

/// The most memory that a process had since [`forget_peak`], in KiB.
fn peak_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Lets the kernel count a process's peak from what it has now.
fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

#[test]
fn what_is_too_large_is_refused_before_it_fills_the_operators_memory() {
    let cluster = Cluster::start().unwrap();
    let registry = Registry::start().unwrap();
    let _report = diagnose::on_failure(&cluster);
    let kubectl = cluster.kubectl();
    let operator = start_operator(&cluster, "operator", &[registry.host()]);
    let node = cluster.add_node("op-large").unwrap();
    wait_bpf_node(&kubectl, node.name());

    let push = |tag: &str, layer: Layer| {
        registry.push_image("op/large", tag, "amd64", &[layer]).unwrap();
    };
    push("packed-file", gzip_of_zeros("x.bpf.o", 12));
    // 2 GiB, in front of what is looked for.
    push("bomb", gzip_of_zeros("rootfs.img", 512));
    // One blob, and manifests that say different things of its size; the last two do not tell the truth.
    let large = registry.push_blob("op/large", &vec![0u8; TOO_LARGE]).unwrap();
    let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
        "digest": registry.push_blob("op/large", b"{}").unwrap()});
    for (tag, size) in [
        ("layer", TOO_LARGE as u64),
        ("file", 3 * MAX_OBJECT_BYTES),
        ("lie", 1024),
    ] {
        let layer = json!({"mediaType": "application/octet-stream", "digest": large, "size": size,
            "annotations": {"org.opencontainers.image.title": "x.bpf.o"}});
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        registry
            .push_manifest("op/large", tag, MANIFEST, manifest.to_string().into_bytes())
            .unwrap();
    }
    // What the first pull of all costs is not counted.
    let apply = |tag: &str| {
        let object = from_image(&format!("{}/op/large:{tag}", registry.host()));
        kubectl
            .apply(&program(tag, node.name(), object).to_string())
            .unwrap();
    };
    push(
        "good",
        Layer::tar_gzip(&[("x.bpf.o", &exec_object(1)), ("rootfs.img", &[0; 1 << 20])]).unwrap(),
    );
    apply("good");
    wait_wanted(&kubectl, node.name(), "good", None);
    forget_peak(operator.pid());
    let before = operator.rss_kib().unwrap();
    let cases = [
        ("layer", "InvalidImage", "more than 64 MiB"),
        ("file", "ObjectTooLarge", "more than 16 MiB"),
        ("packed-file", "ObjectTooLarge", "larger than 16 MiB"),
        ("bomb", "InvalidImage", "unpack to more than"),
        ("lie", "DigestMismatch", "more than its 1024 bytes"),
    ];
    for (tag, ..) in cases {
        apply(tag);
    }
    for (tag, reason, text) in cases {
        let seen = wait_condition(&kubectl, tag, "Accepted", &format!("False/{reason}"));
        assert!(seen.contains(text), "{seen}");
        assert_eq!(wanted(&kubectl, node.name(), tag), None, "{tag} was rolled out");
    }
    // Less than the smallest of them.
    let grown = peak_kib(operator.pid()).saturating_sub(before);
    assert!(
        grown < 16 << 10,
        "the operator grew by {grown} KiB from {before} KiB"
    );

    // A tag that is pushed again is looked at again, whatever was wrong with what it meant.
    push("layer", Layer::file("x.bpf.o", &exec_object(2)));
    wait_wanted(&kubectl, node.name(), "layer", None);
}

/// Asks the operator's endpoint for an object, as the node would.
fn fetch(cluster: &Cluster, node: &Node<'_>, operator: &Operator, digest: Digest) -> Result<Vec<u8>, String> {
    let read =
        |file: &Path| std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    let published = |key: &str| read(&node.artifact_config().join(key));
    let (ca, server) = (
        published(names::ARTIFACT_CA_KEY)?,
        published(names::ARTIFACT_SERVER_NAME_KEY)?,
    );
    let token = read(&node.artifact_token())?;
    let address: std::net::SocketAddr = operator.artifact_address().parse().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| error.to_string())?;
    let client = reqwest::Client::builder()
        .tls_certs_only(ca)
        .resolve(&server, address)
        .no_proxy()
        .build()
        .map_err(|error| format!("{error:?}"))?;
    let path = format!("{}{digest}", names::ARTIFACT_OBJECTS_PATH);
    let request = client
        .get(format!("https://{server}:{}{path}", address.port()))
        .bearer_auth(token);
    cluster.block_on(async {
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| format!("{error:?}"))?;
        if status.is_success() {
            Ok(bytes.to_vec())
        } else {
            Err(format!("{status}: {}", String::from_utf8_lossy(&bytes)))
        }
    })
}

#[test]
fn an_operator_without_its_cache_serves_what_the_tag_meant_when_it_was_resolved() {
    let cluster = Cluster::start().unwrap();
    let registry = Registry::start().unwrap();
    let _report = diagnose::on_failure(&cluster);
    let kubectl = cluster.kubectl();
    let mut operator = start_operator(&cluster, "operator", &[registry.host()]);
    let node = cluster.add_node("op-moved").unwrap();
    let (one, two) = (exec_object(1), exec_object(2));
    let push = |object: &[u8]| {
        registry
            .push_artifact("op/moved", "v1", &[Layer::file("x.bpf.o", object)])
            .unwrap();
    };
    push(&one);
    let object = from_image(&format!("{}/op/moved:v1", registry.host()));
    let applied = program("moved", node.name(), object).to_string();
    kubectl.apply(&applied).unwrap();
    let revision = wait_wanted(&kubectl, node.name(), "moved", None);

    push(&two);
    operator.kill().unwrap();
    std::fs::remove_dir_all(operator.cache_dir()).unwrap();
    operator.restart().unwrap();
    operator.wait_ready(SOON).unwrap();
    let served = wait::until("the object", SOON, || {
        fetch(&cluster, &node, &operator, Digest::of(&one))
    })
    .unwrap();
    assert_eq!(served, one);
    let other = fetch(&cluster, &node, &operator, Digest::of(&two)).unwrap_err();
    assert!(other.starts_with("404"), "{other}");
    // It has looked at the program, and made nothing new of it.
    wait::until("a look at the program", SOON, || {
        let (_, text) = http::get(&operator.health_url("/metrics")).map_err(|error| error.to_string())?;
        if text.contains(r#"reconciles_total{kind="BpfProgram",outcome="done"}"#) {
            Ok(())
        } else {
            Err("none yet".to_owned())
        }
    })
    .unwrap();
    assert_eq!(wanted(&kubectl, node.name(), "moved"), Some(revision));
    let revisions = kubectl.get_json(&["bpfrevisions"]).unwrap();
    assert_eq!(revisions["items"].as_array().unwrap().len(), 1);
}
