//! The operator alone: from a BpfProgram to what nodes shall run, with good and bad input.

use bpfleet_crds::Digest;
use bpfleet_e2e::{objects, push::Layer, wait};
use serde_json::{Value, json};

use crate::operator_support::*;

#[test]
fn a_config_map_that_comes_changes_breaks_and_goes_away_is_followed() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-follow").unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&world.cluster);
    kubectl
        .apply(&program("follow", node.name(), from_config_map("follow")).to_string())
        .unwrap();

    let missing = wait_condition(&kubectl, "follow", "Accepted", "False/ConfigMapNotFound");
    assert!(missing.contains("kubectl create configmap follow"), "{missing}");
    wait_condition(&kubectl, "follow", "Stalled", "True/ConfigMapNotFound");

    kubectl.apply(&config_map("follow", &exec_object(0))).unwrap();
    wait_condition(&kubectl, "follow", "Accepted", "True/Valid");
    let first = wait_wanted(&kubectl, node.name(), "follow", None);
    play_agent(&world.cluster, &node, None);
    kubectl
        .wait_for("bpfprogram/follow", "condition=Ready", SOON)
        .unwrap();

    kubectl.apply(&config_map("follow", b"#!/bin/sh")).unwrap();
    wait_condition(&kubectl, "follow", "Accepted", "False/InvalidObject");
    let ready = wait_condition(&kubectl, "follow", "Ready", "False/NotAccepted");
    assert!(ready.contains("goes on running"), "{ready}");
    assert_eq!(wanted(&kubectl, node.name(), "follow"), Some(first.clone()));

    kubectl.apply(&config_map("follow", &exec_object(2))).unwrap();
    let second = wait_wanted(&kubectl, node.name(), "follow", Some(&first));
    play_agent(&world.cluster, &node, None);
    kubectl
        .wait_for("bpfprogram/follow", "condition=Ready", SOON)
        .unwrap();
    let owner = kubectl.get_json(&["bpfrevision", &second]).unwrap();
    assert_eq!(owner["metadata"]["ownerReferences"][0]["name"], "follow");

    delete_own(&kubectl, "configmap/follow");
    wait::until("the warning", SOON, || {
        let seen = condition(&kubectl, "follow", "Accepted");
        if seen.starts_with("True/Valid") && seen.contains("no ConfigMap follow") {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .unwrap();
    assert_eq!(wanted(&kubectl, node.name(), "follow"), Some(second.clone()));
    wait::until("an event", SOON, || {
        let events = kubectl.get_json(&["events", "-n", "default"]).unwrap();
        let found = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["reason"] == "SourceGone" && event["involvedObject"]["name"] == "follow");
        if found { Ok(()) } else { Err("no SourceGone event") }
    })
    .unwrap();

    // The copy that the revision lives on is made again when somebody deletes it.
    let digest = Digest::of(&exec_object(2));
    let copy = format!("configmap/bpfleet-object-{}", digest.hex());
    delete_own(&kubectl, &copy);
    wait_own(&kubectl, &copy);

    kubectl
        .run(&["delete", "bpfprogram", "follow", "--wait=false"])
        .unwrap();
    wait_condition(&kubectl, "follow", "Ready", "False/Deleting");
    wait::until("the entry's removal", SOON, || {
        wanted(&kubectl, node.name(), "follow").map_or(Ok(()), Err)
    })
    .unwrap();
    assert!(
        kubectl.get_json(&["bpfprogram", "follow"]).is_ok(),
        "it waits for the agent"
    );
    play_agent(&world.cluster, &node, None);
    wait::until("the BpfProgram's end", SOON, || {
        match kubectl.get_json(&["bpfprogram", "follow"]) {
            Err(_) => Ok(()),
            Ok(object) => Err(object["status"].to_string()),
        }
    })
    .unwrap();
    wait::until("the copy's end", SOON, || {
        let found = kubectl.get_json(&["-n", "bpfleet-system", &copy]);
        found.map_or(Ok(()), |_| Err("still there"))
    })
    .unwrap();
}

#[test]
fn bad_objects_and_specs_are_refused_with_the_reason() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-bad").unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&world.cluster);
    let exec = exec_object(0);
    let truncated = &exec[..exec.len() / 2];
    let mut native = exec.clone();
    native[18] = 62;
    let no_programs = objects::bytes("e2e/programs/no_programs.bpf.c").unwrap();
    let big_endian = objects::compile_with(
        &bpfleet_e2e::tools::repository().join("e2e/programs/big_endian.bpf.c"),
        &["-target", "bpfeb"],
    );
    let big_endian = std::fs::read(big_endian.unwrap()).unwrap();
    let xdp = objects::bytes("e2e/programs/xdp.bpf.c").unwrap();
    let hook = |program: &str, target: Value| json!([{"name": "h", "anyOf": [{"program": program, "target": target}]}]);
    let tracepoint = json!({"tracepoint": "sched/sched_switch"});
    let cases: [(&str, &[u8], Value, &str, &str); 8] = [
        ("bad-text", b"hello", Value::Null, "InvalidObject", "ELF"),
        ("bad-truncated", truncated, Value::Null, "InvalidObject", ""),
        (
            "bad-machine",
            &native,
            Value::Null,
            "InvalidObject",
            "-target bpf",
        ),
        ("bad-empty", &no_programs, Value::Null, "InvalidObject", "program"),
        ("bad-endian", &big_endian, Value::Null, "InvalidObject", "endian"),
        (
            "bad-program",
            &exec,
            hook("on_exce", tracepoint.clone()),
            "InvalidSpec",
            "did you mean on_exec?",
        ),
        (
            "bad-target",
            &exec,
            hook("on_exec", json!({"interface": {"name": "lo"}})),
            "InvalidSpec",
            "target.interface",
        ),
        (
            "bad-no-target",
            &xdp,
            Value::Null,
            "InvalidSpec",
            "target.interface",
        ),
    ];
    for (name, object, hooks, _, _) in &cases {
        kubectl.apply(&config_map(name, object)).unwrap();
        let mut program = program(name, node.name(), from_config_map(name));
        if !hooks.is_null() {
            program["spec"]["hooks"] = hooks.clone();
        }
        kubectl.apply(&program.to_string()).unwrap();
    }
    for (name, _, _, reason, text) in &cases {
        let seen = wait_condition(&kubectl, name, "Accepted", &format!("False/{reason}"));
        assert!(seen.contains(text), "{seen}");
        assert!(
            wanted(&kubectl, node.name(), name).is_none(),
            "{name} reached the node"
        );
    }
    // A fault that lasts writes nothing.
    let writes = || {
        world
            .cluster
            .plane()
            .writes(|write| write.name.starts_with("bad-"))
            .unwrap()
            .len()
    };
    let before = writes();
    wait::holds("no writes", std::time::Duration::from_secs(4), || {
        let now = writes();
        if now == before {
            Ok(())
        } else {
            Err(format!("{} more writes", now - before))
        }
    })
    .unwrap();
    for (name, ..) in &cases {
        kubectl.delete(&format!("bpfprogram/{name}"), SOON).unwrap();
    }
}

#[test]
fn images_are_pulled_by_tag_and_digest_and_a_tag_is_resolved_once() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-image").unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&world.cluster);
    let (one, two) = (exec_object(1), exec_object(2));
    let registry = &world.registry;
    let artifact = registry
        .push_artifact("op/artifact", "v1", &[Layer::file("x.bpf.o", &one)])
        .unwrap();
    let layers = [Layer::tar_gzip(&[("lib/x.bpf.o", &one), ("README", b"r")]).unwrap()];
    let amd64 = registry
        .push_image("op/image", "amd64", "amd64", &layers)
        .unwrap();
    let layers = [Layer::tar(&[("lib/x.bpf.o", &two)]).unwrap()];
    let arm64 = registry
        .push_image("op/image", "arm64", "arm64", &layers)
        .unwrap();
    registry
        .push_index("op/image", "v1", &[("amd64", &amd64), ("arm64", &arm64)])
        .unwrap();

    let host = registry.host();
    let source = |reference: String, file: Value| json!({"image": {"reference": reference, "file": file}});
    let apply = |name: &str, object: Value| {
        kubectl
            .apply(&program(name, node.name(), object).to_string())
            .unwrap()
    };
    apply(
        "img-digest",
        source(format!("{host}/op/artifact@{artifact}"), Value::Null),
    );
    apply(
        "img-index",
        source(format!("{host}/op/image:v1"), json!("lib/x.bpf.o")),
    );
    let revision = wait_wanted(&kubectl, node.name(), "img-digest", None);
    let object = &kubectl.get_json(&["bpfrevision", &revision]).unwrap()["spec"]["variants"][0]["objects"][0];
    assert_eq!(object["digest"], Digest::of(&one).to_string());
    assert_eq!(object["architecture"], Value::Null);

    let revision = wait_wanted(&kubectl, node.name(), "img-index", None);
    let objects =
        kubectl.get_json(&["bpfrevision", &revision]).unwrap()["spec"]["variants"][0]["objects"].clone();
    assert_eq!(objects[0]["architecture"], "amd64");
    assert_eq!(objects[0]["digest"], Digest::of(&one).to_string());
    assert_eq!(objects[1]["digest"], Digest::of(&two).to_string());

    // The tag moves; an edit elsewhere resolves nothing again, another reference does.
    registry
        .push_artifact("op/artifact", "moving", &[Layer::file("x.bpf.o", &one)])
        .unwrap();
    apply(
        "img-tag",
        source(format!("{host}/op/artifact:moving"), Value::Null),
    );
    let first = wait_wanted(&kubectl, node.name(), "img-tag", None);
    registry
        .push_artifact("op/artifact", "moving", &[Layer::file("x.bpf.o", &two)])
        .unwrap();
    let mut edited = program(
        "img-tag",
        node.name(),
        source(format!("{host}/op/artifact:moving"), Value::Null),
    );
    edited["spec"]["hooks"] = json!([{"name": "exec", "anyOf": [{"program": "counter"}]}]);
    kubectl.apply(&edited.to_string()).unwrap();
    let second = wait_wanted(&kubectl, node.name(), "img-tag", Some(&first));
    let digest = |revision: &str| {
        kubectl.get_json(&["bpfrevision", revision]).unwrap()["spec"]["variants"][0]["objects"][0]["digest"]
            .clone()
    };
    assert_eq!(digest(&second), digest(&first));
    registry
        .push_artifact("op/artifact", "other", &[Layer::file("x.bpf.o", &two)])
        .unwrap();
    edited["spec"]["variants"][0]["object"] = source(format!("{host}/op/artifact:other"), Value::Null);
    kubectl.apply(&edited.to_string()).unwrap();
    let third = wait_wanted(&kubectl, node.name(), "img-tag", Some(&second));
    assert_eq!(digest(&third), Digest::of(&two).to_string());
    for name in ["img-digest", "img-index", "img-tag"] {
        kubectl
            .run(&["delete", "bpfprogram", name, "--wait=false"])
            .unwrap();
    }
}

#[test]
fn images_that_cannot_be_had_say_why_and_heal() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-nopull").unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&world.cluster);
    let exec = exec_object(0);
    let (open, private) = (world.registry.host(), world.private.host());
    let two = [Layer::tar(&[("a.o", b"1"), ("b.o", b"2")]).unwrap()];
    world.registry.push_image("op/two", "v1", "amd64", &two).unwrap();
    world
        .private
        .push_artifact("op/secret", "v1", &[Layer::file("x.bpf.o", &exec)])
        .unwrap();
    let cases = [
        (
            "pull-syntax",
            "UPPER/case".to_owned(),
            "InvalidImageReference",
            "REGISTRY/REPOSITORY",
        ),
        (
            "pull-down",
            format!("{}/op/x:v1", unused_host()),
            "RegistryUnavailable",
            "cannot reach",
        ),
        (
            "pull-missing",
            format!("{open}/op/late:v1"),
            "ImageNotFound",
            "op/late:v1",
        ),
        (
            "pull-several",
            format!("{open}/op/two:v1"),
            "ImageFileNotFound",
            "a.o, b.o",
        ),
        (
            "pull-denied",
            format!("{private}/op/secret:v1"),
            "RegistryDenied",
            "pullSecret",
        ),
    ];
    for (name, reference, _, _) in &cases {
        let object = json!({"image": {"reference": reference}});
        kubectl
            .apply(&program(name, node.name(), object).to_string())
            .unwrap();
    }
    for (name, _, reason, text) in &cases {
        let seen = wait_condition(&kubectl, name, "Accepted", &format!("False/{reason}"));
        assert!(seen.contains(text), "{seen}");
    }
    wait_condition(&kubectl, "pull-down", "Stalled", "False/Progressing");

    // What is pushed later is found without anybody's doing.
    world
        .registry
        .push_artifact("op/late", "v1", &[Layer::file("x.bpf.o", &exec)])
        .unwrap();
    wait_condition(&kubectl, "pull-missing", "Accepted", "True/Valid");

    let object =
        json!({"image": {"reference": format!("{private}/op/secret:v1"), "pullSecret": {"name": "op-pull"}}});
    kubectl
        .apply(&program("pull-denied", node.name(), object).to_string())
        .unwrap();
    let seen = wait_condition(&kubectl, "pull-denied", "Accepted", "False/InvalidPullSecret");
    assert!(seen.contains("kubectl create secret docker-registry"), "{seen}");
    for (name, ..) in &cases {
        kubectl
            .run(&["delete", "bpfprogram", name, "--wait=false"])
            .unwrap();
    }
}

#[test]
fn a_bpf_node_edited_or_deleted_by_hand_is_put_right_and_follows_its_node() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-hand").unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&world.cluster);
    let made = wait_bpf_node(&kubectl, "op-hand");
    assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], "Node");
    kubectl.apply(&config_map("hand", &exec_object(0))).unwrap();
    kubectl
        .apply(&program("hand", "op-hand", from_config_map("hand")).to_string())
        .unwrap();
    let revision = wait_wanted(&kubectl, "op-hand", "hand", None);

    let patch = r#"{"spec": {"programs": [{"name": "intruder", "revision": "intruder-1"}]}}"#;
    kubectl
        .run(&["patch", "bpfnode", "op-hand", "--type=merge", "-p", patch])
        .unwrap();
    wait::until("the entry's return", SOON, || {
        let seen = (
            wanted(&kubectl, "op-hand", "hand"),
            wanted(&kubectl, "op-hand", "intruder"),
        );
        if seen == (Some(revision.clone()), None) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .unwrap();

    let uid = wait_bpf_node(&kubectl, "op-hand")["metadata"]["uid"].clone();
    kubectl.run(&["delete", "bpfnode", "op-hand"]).unwrap();
    wait::until("a new BpfNode", SOON, || {
        match kubectl.get_json(&["bpfnode", "op-hand"]) {
            Ok(object) if object["metadata"]["uid"] != uid => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    assert_eq!(wait_wanted(&kubectl, "op-hand", "hand", None), revision);

    node.set_agent_ready(false).unwrap();
    wait_condition(&kubectl, "hand", "Ready", "False/NoLiveAgents");
    node.set_node_ready(false).unwrap();
    wait::until("the count", SOON, || {
        let counts = kubectl.get_json(&["bpfprogram", "hand"]).unwrap()["status"]["nodes"].clone();
        if counts["unreachable"] == 1 && counts["withoutAgent"] == 0 {
            Ok(())
        } else {
            Err(counts.to_string())
        }
    })
    .unwrap();
    // A node that is gone holds up no deletion.
    kubectl.delete("bpfprogram/hand", SOON).unwrap();
}

#[test]
fn a_failing_node_is_named_and_a_selector_that_leaves_it_takes_the_program_away() {
    let world = world();
    let kubectl = world.cluster.kubectl();
    let node = world.cluster.add_node("op-fail").unwrap();
    let _report = bpfleet_e2e::diagnose::on_failure(&world.cluster);
    kubectl.apply(&config_map("fail", &exec_object(0))).unwrap();
    kubectl
        .apply(&program("fail", "op-fail", from_config_map("fail")).to_string())
        .unwrap();
    wait_wanted(&kubectl, "op-fail", "fail", None);
    play_agent(&world.cluster, &node, Some("VerifierRejected"));
    let seen = wait_condition(&kubectl, "fail", "Ready", "False/NodesFailed");
    assert!(seen.contains("op-fail: VerifierRejected"), "{seen}");
    wait_condition(&kubectl, "fail", "Stalled", "True/NodesFailed");
    let failures = kubectl.get_json(&["bpfprogram", "fail"]).unwrap()["status"]["failures"].clone();
    assert_eq!(failures[0]["exampleNode"], "op-fail");

    kubectl
        .apply(&program("fail", "nowhere", from_config_map("fail")).to_string())
        .unwrap();
    wait_condition(&kubectl, "fail", "Ready", "False/NoNodesSelected");
    wait::until("the entry's removal", SOON, || {
        wanted(&kubectl, "op-fail", "fail").map_or(Ok(()), Err)
    })
    .unwrap();
    play_agent(&world.cluster, &node, None);
    kubectl.delete("bpfprogram/fail", SOON).unwrap();
}
