//! Every value is documented, known to the schema, and has an effect.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use crate::support::{helm, merge, nested, render, render_text, root, run};

fn readme() -> String {
    run(Command::new(env!("CARGO_BIN_EXE_chartdoc")).args(["--stdout", "charts/bpfleet"]))
}

/// Names in the table of values.
fn documented() -> BTreeSet<String> {
    let names: BTreeSet<String> = readme()
        .split_once("| value | type |")
        .unwrap()
        .1
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(names.len() > 40, "{names:?}");
    names
}

#[test]
fn the_readmes_table_of_values_is_generated_from_values_yaml() {
    let committed = fs::read_to_string(root().join("charts/bpfleet/README.md")).unwrap();
    assert!(
        committed == readme(),
        "charts/bpfleet/README.md is not what values.yaml says: run `make generate`"
    );
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    run(helm().args(["lint", "--strict", "--kube-version", "1.33.0", "charts/bpfleet"]));
}

#[test]
fn the_schema_allows_no_value_that_is_not_in_values_yaml() {
    fn walk(root: &Value, path: &str, schema: &Value, values: &Value, unknown: &mut Vec<String>) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        if schema["type"] == "object" && path.is_empty() {
            assert_eq!(schema["additionalProperties"], false);
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match values.get(name) {
                // Below it are things of Kubernetes.
                Some(Value::Object(found)) if found.is_empty() => {}
                Some(found) => walk(root, &path, inner, found, unknown),
                None => unknown.push(path),
            }
        }
    }
    let read = |name: &str| fs::read_to_string(root().join("charts/bpfleet").join(name)).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_norway::from_str(&read("values.yaml")).unwrap();
    let mut unknown = Vec::new();
    walk(&schema, "", &schema, &values, &mut unknown);
    let of_kubernetes = [
        ".global",
        ".operator.resources.claims",
        ".operator.affinity.nodeAffinity",
        ".operator.affinity.podAffinity",
        ".agent.resources.claims",
        ".agent.resources.limits",
    ];
    unknown.sort();
    let mut expected: Vec<String> = of_kubernetes.map(String::from).into();
    expected.sort();
    assert_eq!(unknown, expected);
}

/// Another value for each than its default, and other values without which it has no effect.
fn others() -> Vec<(&'static str, Value, Value)> {
    let digest = format!("sha256:{}", "a".repeat(64));
    let spread = json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]);
    let peers = json!([{"podSelector": {}}]);
    let monitored = json!({
        "metrics": {"podMonitor": {"enabled": true}},
        "networkPolicy": {"metricsFrom": peers},
    });
    let none = || json!({});
    let mut table = vec![
        ("crds.enabled", json!(false), none()),
        ("image.registry", json!("r.example.com:5000/a/b"), none()),
        ("image.pullPolicy", json!("Always"), none()),
        ("image.pullSecrets", json!([{"name": "s"}]), none()),
        ("operator.replicas", json!(3), none()),
        ("operator.topologySpreadConstraints", spread, none()),
        ("operator.insecureRegistries", json!(["r:5000"]), none()),
        ("operator.cache.sizeLimit", json!("1Gi"), none()),
        ("operator.podDisruptionBudget.enabled", json!(false), none()),
        ("agent.privileges", json!("SysAdmin"), none()),
        ("agent.extraCapabilities", json!(["SYSLOG"]), none()),
        ("agent.bpffs.mount", json!(true), none()),
        ("agent.cache.hostPath", json!("/var/lib/bpfleet"), none()),
        ("agent.cache.sizeLimit", json!("2Gi"), none()),
        ("agent.healthPort", json!(9990), none()),
        ("agent.metrics.enabled", json!(true), none()),
        (
            "agent.metrics.port",
            json!(9991),
            nested("agent.metrics.enabled", json!(true)),
        ),
        ("agent.updateStrategy.maxUnavailable", json!(1), none()),
        ("agent.terminationGracePeriodSeconds", json!(11), none()),
        ("agent.seLinux.enabled", json!(false), none()),
        ("agent.seLinux.type", json!("bpfleet_t"), none()),
        ("artifacts.port", json!(443), none()),
        ("networkPolicy.enabled", json!(false), none()),
        ("networkPolicy.metricsFrom", peers.clone(), none()),
        (
            "metrics.podMonitor.enabled",
            json!(true),
            nested("networkPolicy.metricsFrom", peers),
        ),
        ("metrics.podMonitor.labels", json!({"a": "b"}), monitored.clone()),
        ("metrics.podMonitor.interval", json!("15s"), monitored),
        ("admissionPolicy.enabled", json!(false), none()),
        ("openshift.enabled", json!(true), none()),
        ("uninstall.enabled", json!(false), none()),
        ("uninstall.timeoutSeconds", json!(60), none()),
    ];
    for (operator, agent, other) in [
        (
            "operator.image.repository",
            "agent.image.repository",
            json!("other"),
        ),
        ("operator.image.tag", "agent.image.tag", json!("v1")),
        ("operator.image.digest", "agent.image.digest", json!(digest)),
        (
            "operator.resources",
            "agent.resources",
            json!({"limits": {"cpu": "1"}}),
        ),
        ("operator.priorityClassName", "agent.priorityClassName", json!("")),
        ("operator.nodeSelector", "agent.nodeSelector", json!({"a": "b"})),
        (
            "operator.tolerations",
            "agent.tolerations",
            json!([{"key": "a", "operator": "Exists"}]),
        ),
        (
            "operator.affinity",
            "agent.affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}),
        ),
        (
            "operator.podAnnotations",
            "agent.podAnnotations",
            json!({"a/b": "c"}),
        ),
        ("operator.podLabels", "agent.podLabels", json!({"a": "b"})),
        ("operator.logFormat", "agent.logFormat", json!("json")),
        ("operator.logLevel", "agent.logLevel", json!("debug")),
    ] {
        table.push((operator, other.clone(), none()));
        table.push((agent, other, none()));
    }
    table
}

#[test]
fn every_documented_value_changes_what_is_rendered() {
    let names: BTreeSet<String> = others().iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(
        names,
        documented(),
        "each documented value needs another one here"
    );
    for (name, other, context) in others() {
        let mut values = context.clone();
        merge(&mut values, nested(name, other));
        assert!(
            render_text(&context.to_string()) != render_text(&values.to_string()),
            "{values} changes nothing"
        );
    }
}

#[test]
fn a_value_can_be_taken_back_with_null_where_kubernetes_needs_none() {
    let pod = "{priorityClassName: null, nodeSelector: null, tolerations: null, affinity: null, \
               resources: null, podLabels: null, podAnnotations: null}";
    let rendered = render(&format!("{{operator: {pod}, agent: {pod}}}"));
    for pod in [rendered.operator(), rendered.agent()] {
        for key in ["priorityClassName", "nodeSelector", "tolerations", "affinity"] {
            assert!(pod["spec"].get(key).is_none(), "{key}");
        }
        assert!(pod["spec"]["containers"][0].get("resources").is_none());
    }
    let rendered = render("{operator: {affinity: {podAntiAffinity: null}}}");
    let affinity = &rendered.operator()["spec"]["affinity"];
    assert!(affinity["podAntiAffinity"].is_null(), "{affinity}");
}

#[test]
fn labels_and_annotations_of_the_user_win_over_the_charts() {
    let annotation = "kubectl.kubernetes.io/default-container";
    let rendered = render(&format!(
        "{{agent: {{podAnnotations: {{{annotation}: x}}}}, operator: {{podAnnotations: {{{annotation}: z}}}}, \
         networkPolicy: {{enabled: false}}, \
         metrics: {{podMonitor: {{enabled: true, labels: {{app.kubernetes.io/instance: prometheus}}}}}}}}"
    ));
    assert_eq!(rendered.agent()["metadata"]["annotations"][annotation], "x");
    assert_eq!(rendered.operator()["metadata"]["annotations"][annotation], "z");
    let labels = &rendered.get("PodMonitor", "bpfleet-operator")["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/instance"], "prometheus");
}

#[test]
fn an_image_is_named_by_registry_repository_and_tag_or_rather_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let version = env!("CARGO_PKG_VERSION");
    for (values, expected) in [
        ("{}".to_owned(), format!("bpfleet-agent:{version}")),
        (
            "{image: {registry: r.example.com/a}}".to_owned(),
            format!("r.example.com/a/bpfleet-agent:{version}"),
        ),
        (
            "{agent: {image: {repository: x/y, tag: v2}}}".to_owned(),
            "x/y:v2".to_owned(),
        ),
        (
            format!("{{agent: {{image: {{tag: v2, digest: '{digest}'}}}}}}"),
            format!("bpfleet-agent@{digest}"),
        ),
    ] {
        let rendered = render(&values);
        assert_eq!(
            rendered.agent()["spec"]["containers"][0]["image"],
            expected.as_str()
        );
    }
}

#[test]
fn the_crds_can_be_left_out_and_outlive_the_release() {
    let crds = |values: &str| -> Vec<Value> {
        let all = render(values).0;
        let crds = all
            .into_iter()
            .filter(|d| d["kind"] == "CustomResourceDefinition");
        crds.collect()
    };
    let found = crds("{}");
    assert_eq!(found.len(), 3);
    for crd in found {
        assert_eq!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep",
            "{}",
            crd["metadata"]
        );
    }
    assert!(crds("{crds: {enabled: false}}").is_empty());
}
