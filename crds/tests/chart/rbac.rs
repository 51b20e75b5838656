//! The committed RBAC is the chart's, grants what it should and no more, and agrees with the names in code.

use std::{collections::BTreeSet, fs, process::Command};

use bpfleet_crds::names;
use serde_json::Value;

use crate::support::{documents, render, root, run, strings, value_sets};

fn committed() -> Vec<Value> {
    documents(&fs::read_to_string(root().join("e2e/manifests/rbac.yaml")).unwrap())
}

/// Everything that a role grants, as `verb group/resource` or `verb group/resource=name`.
fn grants(documents: &[Value], kind: &str, name: &str) -> BTreeSet<String> {
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

/// The same from lines of `verb,verb group/resource`.
fn expected(lines: &[&str]) -> BTreeSet<String> {
    lines
        .iter()
        .flat_map(|line| {
            let (verbs, resource) = line.split_once(' ').unwrap();
            verbs.split(',').map(move |verb| format!("{verb} {resource}"))
        })
        .collect()
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
fn an_agent_writes_nothing_but_the_status_of_nodes() {
    let documents = committed();
    assert_eq!(
        grants(&documents, "ClusterRole", "bpfleet-agent"),
        expected(&[
            "get,list,watch bpfleet.io/bpfnodes",
            "patch bpfleet.io/bpfnodes/status",
            "get bpfleet.io/bpfrevisions",
        ])
    );
    // The ConfigMap that says where the endpoint is reaches it as files.
    assert!(
        documents
            .iter()
            .all(|d| d["kind"] != "Role" || d["metadata"]["name"] != "bpfleet-agent")
    );
}

#[test]
fn the_operator_touches_secrets_leases_and_services_by_name_and_no_nodes() {
    let documents = committed();
    assert_eq!(
        grants(&documents, "ClusterRole", "bpfleet-operator"),
        expected(&[
            "get,list,watch,update,patch bpfleet.io/bpfprograms",
            "update bpfleet.io/bpfprograms/finalizers",
            "get,patch bpfleet.io/bpfprograms/status",
            "get,list,watch,create,patch,delete bpfleet.io/bpfrevisions",
            "get,patch bpfleet.io/bpfrevisions/status",
            "get,list,watch,create,patch,delete bpfleet.io/bpfnodes",
            // The agents write it.
            "get bpfleet.io/bpfnodes/status",
            "get,list,watch /nodes",
            "create,patch events.k8s.io/events",
            "create authentication.k8s.io/tokenreviews",
        ])
    );
    assert_eq!(
        grants(&documents, "Role", "bpfleet-operator"),
        expected(&[
            "get,list,watch,create,update,patch,delete /configmaps",
            "get,create /secrets",
            &format!("update,patch /secrets={}", names::ARTIFACT_TLS_SECRET),
            "create coordination.k8s.io/leases",
            &format!(
                "get,update,patch coordination.k8s.io/leases={}",
                names::OPERATOR_LEASE
            ),
            "get,list,watch /services=bpfleet-artifacts",
            "get,list,watch /pods",
        ])
    );
}

#[test]
fn uninstalling_may_stop_the_operator_and_empty_nodes_and_nothing_else() {
    let rendered = render("{}").0;
    assert_eq!(
        grants(&rendered, "ClusterRole", "bpfleet-uninstall"),
        expected(&[
            "get,list,watch,patch bpfleet.io/bpfnodes",
            "get,list,watch,update,patch bpfleet.io/bpfprograms",
            "patch bpfleet.io/bpfprograms/status",
            "get,list,watch /nodes",
        ])
    );
    assert_eq!(
        grants(&rendered, "Role", "bpfleet-uninstall"),
        expected(&[
            "get apps/deployments=bpfleet-operator",
            "update,patch apps/deployments/scale=bpfleet-operator",
            &format!("delete /configmaps={}", names::ARTIFACT_CONFIG_MAP),
            &format!("delete /secrets={}", names::ARTIFACT_TLS_SECRET),
            "create coordination.k8s.io/leases",
            &format!(
                "get,patch,delete coordination.k8s.io/leases={}",
                names::OPERATOR_LEASE
            ),
            &format!("delete /pods={}", names::VERIFY_POD),
            "get,list,watch /pods",
        ])
    );
}

#[test]
fn helm_test_reads_and_writes_nothing() {
    let rendered = render("{}").0;
    assert_eq!(
        grants(&rendered, "ClusterRole", "bpfleet-verify"),
        expected(&[
            "get,list bpfleet.io/bpfnodes",
            "get,list bpfleet.io/bpfprograms",
            "get,list /nodes",
            "get apiextensions.k8s.io/customresourcedefinitions=bpfnodes.bpfleet.io",
            "get apiextensions.k8s.io/customresourcedefinitions=bpfprograms.bpfleet.io",
            "get apiextensions.k8s.io/customresourcedefinitions=bpfrevisions.bpfleet.io",
        ])
    );
    assert_eq!(
        grants(&rendered, "Role", "bpfleet-verify"),
        expected(&[
            &format!("get apps/daemonsets={}", names::AGENT_DAEMON_SET),
            "get,list /pods",
            &format!("get /configmaps={}", names::ARTIFACT_CONFIG_MAP),
        ])
    );
}

#[test]
fn on_openshift_the_agents_alone_may_use_their_constraints() {
    let rendered = render("{openshift: {enabled: true}}");
    assert_eq!(
        grants(&rendered.0, "ClusterRole", "bpfleet-agent-scc"),
        expected(&["use security.openshift.io/securitycontextconstraints=bpfleet-agent"])
    );
    let binding = rendered.get("RoleBinding", "bpfleet-agent-scc");
    assert_eq!(binding["subjects"].as_array().unwrap().len(), 1);
    assert_eq!(binding["subjects"][0]["name"], names::AGENT_SERVICE_ACCOUNT);
    let constraints = rendered.get("SecurityContextConstraints", "bpfleet-agent");
    assert_eq!(constraints["allowPrivilegedContainer"], false);
    assert!(render("{}").find("ClusterRole", "bpfleet-agent-scc").is_none());
}

#[test]
fn no_role_grants_anything_by_wildcard() {
    for values in value_sets() {
        for document in render(values).0 {
            for rule in document["rules"].as_array().into_iter().flatten() {
                for key in ["apiGroups", "resources", "verbs", "resourceNames"] {
                    assert!(!strings(rule, key).iter().any(|v| v.contains('*')), "{rule}");
                }
            }
        }
    }
}

#[test]
fn every_role_is_bound_to_an_account_of_its_own_and_every_pod_has_one() {
    for values in value_sets() {
        let rendered = render(values);
        for (role, binding) in [("ClusterRole", "ClusterRoleBinding"), ("Role", "RoleBinding")] {
            for document in rendered.0.iter().filter(|d| d["kind"] == role) {
                let name = &document["metadata"]["name"];
                let bound = rendered
                    .0
                    .iter()
                    .find(|d| {
                        (d["kind"] == binding || d["kind"] == "RoleBinding")
                            && d["roleRef"]["kind"] == role
                            && d["roleRef"]["name"] == *name
                    })
                    .unwrap_or_else(|| panic!("nobody has {role} {name}"));
                for subject in bound["subjects"].as_array().unwrap() {
                    assert_eq!(subject["kind"], "ServiceAccount");
                    assert_eq!(subject["namespace"], names::DEFAULT_NAMESPACE);
                    rendered.get("ServiceAccount", subject["name"].as_str().unwrap());
                }
            }
        }
        for (name, pod) in rendered.pods() {
            assert_eq!(pod["spec"]["serviceAccountName"], name, "one account for each");
            rendered.get("ServiceAccount", name);
        }
    }
}

#[test]
fn accounts_have_the_names_in_code() {
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
    }
}
