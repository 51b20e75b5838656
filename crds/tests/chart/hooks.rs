//! What Helm runs besides: `helm uninstall` and `helm test`.

use bpfleet_crds::names;
use serde_json::{Value, json};

use crate::support::{containers, render, strings};

fn annotation<'a>(document: &'a Value, key: &str) -> &'a str {
    document["metadata"]["annotations"][format!("helm.sh/{key}")]
        .as_str()
        .unwrap_or_default()
}

fn hooks(kind: &str) -> Vec<Value> {
    let mut hooks = render("{}").0;
    hooks.retain(|document| annotation(document, "hook") == kind);
    hooks.sort_by_key(|hook| annotation(hook, "hook-weight").parse::<i32>().unwrap());
    hooks
}

fn kinds(hooks: &[Value]) -> Vec<&str> {
    hooks.iter().map(|hook| hook["kind"].as_str().unwrap()).collect()
}

/// Accounts and roles first, then what binds them, then what uses them.
fn order(hooks: &[Value]) {
    let weights: Vec<i32> = ["Role", "Binding", "Pod"]
        .iter()
        .map(|part| {
            let hook = hooks.iter().find(|hook| {
                let kind = hook["kind"].as_str().unwrap();
                kind.ends_with(part) || (*part == "Pod" && kind == "Job")
            });
            annotation(hook.unwrap(), "hook-weight").parse().unwrap()
        })
        .collect();
    assert!(weights.is_sorted_by(|a, b| a < b), "{weights:?}");
}

#[test]
fn uninstalling_runs_a_job_with_rights_of_its_own_and_takes_them_away_again() {
    let hooks = hooks("pre-delete");
    let mut found = kinds(&hooks);
    assert_eq!(found.pop(), Some("Job"), "the rights are there before it runs");
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "ServiceAccount"
        ]
    );
    order(&hooks);
    for hook in &hooks {
        assert_eq!(hook["metadata"]["name"], "bpfleet-uninstall");
        assert_eq!(
            annotation(hook, "hook-delete-policy"),
            "before-hook-creation,hook-succeeded"
        );
    }
    assert!(
        render("uninstall: {enabled: false}")
            .0
            .iter()
            .all(|d| d["metadata"]["name"] != "bpfleet-uninstall")
    );
}

#[test]
fn the_job_has_more_time_than_the_command_and_less_than_helm_gives_it() {
    let time = |values: &str| {
        let rendered = render(values);
        let job = rendered.get("Job", "bpfleet-uninstall");
        let spec = &job["spec"];
        let container = &spec["template"]["spec"]["containers"][0];
        (
            strings(container, "args").join(" "),
            spec["activeDeadlineSeconds"].as_u64().unwrap(),
        )
    };
    let (command, deadline) = time("{}");
    assert_eq!(command, "uninstall --timeout 120s");
    // The operator may take 45 s to end before that time begins.
    assert!(deadline > 120 + 45 + 60 && deadline < 300, "{deadline}");
    assert_eq!(
        time("uninstall: {timeoutSeconds: 600}"),
        ("uninstall --timeout 600s".to_owned(), 750)
    );
}

#[test]
fn helm_test_runs_a_pod_that_stays_to_be_read_with_an_account_that_does_not() {
    let hooks = hooks("test");
    assert_eq!(hooks.len(), 6, "{:?}", kinds(&hooks));
    order(&hooks);
    for hook in &hooks {
        assert_eq!(hook["metadata"]["name"], "bpfleet-verify");
        let policy = annotation(hook, "hook-delete-policy");
        if hook["kind"] == "Pod" {
            assert_eq!(policy, "before-hook-creation");
            assert_eq!(hook["spec"]["restartPolicy"], "Never");
            assert_eq!(hook["spec"]["containers"][0]["args"], json!(["verify"]));
        } else {
            assert_eq!(policy, "before-hook-creation,hook-succeeded");
        }
    }
}

#[test]
fn hooks_run_the_operators_image_where_the_operator_may_run() {
    let rendered = render(
        "{image: {registry: r.example.com, pullPolicy: Always, pullSecrets: [{name: s}]}, \
          operator: {nodeSelector: {a: b}, tolerations: [{operator: Exists}]}}",
    );
    let operator = rendered.operator();
    for (name, pod) in rendered.pods() {
        if !["bpfleet-uninstall", "bpfleet-verify"].contains(&name) {
            continue;
        }
        for key in [
            "imagePullSecrets",
            "nodeSelector",
            "tolerations",
            "securityContext",
        ] {
            assert_eq!(pod["spec"][key], operator["spec"][key], "{name}: {key}");
        }
        for key in ["image", "imagePullPolicy", "securityContext"] {
            assert_eq!(
                containers(pod)[0][key],
                containers(operator)[0][key],
                "{name}: {key}"
            );
        }
        let component = &pod["metadata"]["labels"][names::COMPONENT_LABEL];
        assert_ne!(
            component,
            names::OPERATOR_COMPONENT,
            "nobody counts it as an operator"
        );
    }
}
