//! The committed RBAC is the chart's, grants what it should and no more, and agrees with the names in code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking"
)]

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use bpfleet_crds::names;
use serde::Deserialize;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn run(command: &mut Command) -> String {
    let output = command
        .current_dir(root())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Helm as HELM names it, otherwise the pinned one, which is built if need be.
fn helm() -> Command {
    let path = env::var("HELM").unwrap_or_else(|_| run(Command::new("scripts/tools.sh").arg("helm")));
    let mut command = Command::new(path.trim());
    command.current_dir(root());
    command
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_norway::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

fn committed() -> Vec<Value> {
    documents(&fs::read_to_string(root().join("e2e/manifests/rbac.yaml")).unwrap())
}

fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Everything that a role grants, as `verb group/resource` or `verb group/resource=name`.
fn grants(kind: &str, name: &str) -> BTreeSet<String> {
    let documents = committed();
    let role = documents
        .iter()
        .find(|d| d["kind"] == kind && d["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"));
    let mut grants = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in strings(rule, "apiGroups") {
            for resource in strings(rule, "resources") {
                for verb in strings(rule, "verbs") {
                    let names = strings(rule, "resourceNames");
                    if names.is_empty() {
                        grants.insert(format!("{verb} {group}/{resource}"));
                    }
                    grants.extend(
                        names
                            .iter()
                            .map(|name| format!("{verb} {group}/{resource}={name}")),
                    );
                }
            }
        }
    }
    grants
}

#[test]
fn the_committed_rbac_is_what_helm_renders() {
    let rendered = run(Command::new("scripts/render.sh").arg("--rbac"));
    let committed = fs::read_to_string(root().join("e2e/manifests/rbac.yaml")).unwrap_or_default();
    assert!(
        committed == rendered,
        "e2e/manifests/rbac.yaml is not the chart's rendering: run `make generate`"
    );
}

#[test]
fn the_crds_can_be_left_out_and_outlive_the_release() {
    let render = |enabled: &str| {
        let set = format!("crds.enabled={enabled}");
        let arguments = [
            "template",
            "bpfleet",
            "charts/bpfleet",
            "--kube-version",
            "1.33.0",
            "--set",
            &set,
        ];
        let crds: Vec<_> = documents(&run(helm().args(arguments)))
            .into_iter()
            .filter(|d| d["kind"] == "CustomResourceDefinition")
            .collect();
        crds
    };
    let crds = render("true");
    assert_eq!(crds.len(), 3);
    for crd in crds {
        assert_eq!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep",
            "{}",
            crd["metadata"]
        );
    }
    assert!(render("false").is_empty());
}

#[test]
fn an_unknown_value_is_refused() {
    let arguments = [
        "template",
        "bpfleet",
        "charts/bpfleet",
        "--kube-version",
        "1.33.0",
        "--set",
        "crd.enabled=false",
    ];
    let output = helm().args(arguments).output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("additional properties 'crd' not allowed"),
        "{message}"
    );
}

#[test]
fn an_agent_writes_nothing_but_the_status_of_nodes() {
    let expected = [
        "get bpfleet.io/bpfnodes",
        "get bpfleet.io/bpfrevisions",
        "list bpfleet.io/bpfnodes",
        "patch bpfleet.io/bpfnodes/status",
        "watch bpfleet.io/bpfnodes",
    ];
    assert_eq!(
        grants("ClusterRole", "bpfleet-agent"),
        expected.map(String::from).into()
    );
    // The ConfigMap that says where the endpoint is reaches it as files.
    assert!(
        committed()
            .iter()
            .all(|d| d["kind"] != "Role" || d["metadata"]["name"] != "bpfleet-agent")
    );
}

#[test]
fn the_operator_touches_secrets_and_leases_by_name_and_no_nodes() {
    let cluster = grants("ClusterRole", "bpfleet-operator");
    let writes = |prefix: &str| {
        cluster
            .iter()
            .filter(|g| g.ends_with(prefix) && !g.starts_with("get "))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(writes(" /nodes"), ["list /nodes", "watch /nodes"]);
    assert!(
        writes(" bpfleet.io/bpfnodes/status").is_empty(),
        "the agents write it"
    );
    assert!(
        !cluster
            .iter()
            .any(|g| g.contains("/secrets") || g.contains("/configmaps")),
        "{cluster:?}"
    );

    let namespace = grants("Role", "bpfleet-operator");
    let of = |resource: &str| {
        let resource = format!(" {resource}");
        let is = |g: &&String| {
            g.split_once(' ')
                .is_some_and(|(_, r)| format!(" {r}").split('=').next() == Some(&resource))
        };
        namespace.iter().filter(is).cloned().collect::<Vec<_>>()
    };
    let secret = names::ARTIFACT_TLS_SECRET;
    assert_eq!(
        of("/secrets"),
        [
            "create /secrets".into(),
            "get /secrets".into(),
            format!("patch /secrets={secret}"),
            format!("update /secrets={secret}"),
        ]
    );
    let lease = format!("coordination.k8s.io/leases={}", names::OPERATOR_LEASE);
    assert_eq!(
        of("coordination.k8s.io/leases"),
        [
            "create coordination.k8s.io/leases".into(),
            format!("get {lease}"),
            format!("patch {lease}"),
            format!("update {lease}"),
        ]
    );
}

#[test]
fn nothing_is_granted_by_wildcard() {
    for document in committed() {
        for rule in document["rules"].as_array().into_iter().flatten() {
            for key in ["apiGroups", "resources", "verbs", "resourceNames"] {
                assert!(!strings(rule, key).iter().any(|v| v.contains('*')), "{rule}");
            }
        }
    }
}

#[test]
fn accounts_and_bindings_have_the_names_in_code() {
    let documents = committed();
    for (account, component) in [
        (names::OPERATOR_SERVICE_ACCOUNT, names::OPERATOR_COMPONENT),
        (names::AGENT_SERVICE_ACCOUNT, names::AGENT_COMPONENT),
    ] {
        let found = documents
            .iter()
            .find(|d| d["kind"] == "ServiceAccount" && d["metadata"]["name"] == account)
            .unwrap_or_else(|| panic!("no account {account}"));
        assert_eq!(found["metadata"]["namespace"], names::DEFAULT_NAMESPACE);
        assert_eq!(found["metadata"]["labels"][names::APP_LABEL], names::APP_NAME);
        assert_eq!(found["metadata"]["labels"][names::COMPONENT_LABEL], component);
        for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
            let found = documents
                .iter()
                .find(|d| d["kind"] == binding && d["subjects"][0]["name"] == account);
            let found = match found {
                // Agents need nothing of a namespace.
                None if component == names::AGENT_COMPONENT && binding == "RoleBinding" => continue,
                other => other.unwrap_or_else(|| panic!("no {binding} of {account}")),
            };
            assert_eq!(found["subjects"][0]["namespace"], names::DEFAULT_NAMESPACE);
            assert_eq!(found["roleRef"]["kind"], role);
            let bound = &found["roleRef"]["name"];
            assert!(
                documents
                    .iter()
                    .any(|d| d["kind"] == role && d["metadata"]["name"] == *bound),
                "{bound}"
            );
        }
    }
}
