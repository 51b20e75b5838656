//! Running Helm, and finding one's way in what it renders.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use bpfleet_crds::names::DEFAULT_NAMESPACE;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The release that is rendered.
pub const RELEASE: &str = "bpfleet";

pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

pub fn run(command: &mut Command) -> String {
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
pub fn helm() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let path = env::var("HELM").unwrap_or_else(|_| run(Command::new("scripts/tools.sh").arg("helm")));
        path.trim().into()
    });
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// What `helm template` says with these values, in YAML.
pub fn template(namespace: &str, values: &str) -> Output {
    let mut child = helm()
        .args(["template", RELEASE, "charts/bpfleet", "--namespace", namespace])
        .args(["--kube-version", "1.33.0", "--values", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(values.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn render_text(values: &str) -> String {
    let output = template(DEFAULT_NAMESPACE, values);
    assert!(
        output.status.success(),
        "with {values}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that is rendered with these values, in YAML.
pub fn render(values: &str) -> Rendered {
    Rendered(documents(&render_text(values)))
}

/// Why these values are refused.
pub fn refusal(values: &str) -> String {
    let output = template(DEFAULT_NAMESPACE, values);
    assert!(!output.status.success(), "{values} is taken");
    String::from_utf8(output.stderr).unwrap()
}

pub fn documents(yaml: &str) -> Vec<Value> {
    serde_norway::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| !document.is_null())
        .collect()
}

/// Values that together render every template and every branch of them.
pub fn value_sets() -> [&'static str; 4] {
    [
        "{}",
        "{openshift: {enabled: true}, agent: {privileges: SysAdmin, cache: {hostPath: /var/lib/bpfleet}}}",
        "{openshift: {enabled: true}, agent: {privileges: Privileged, bpffs: {mount: true}}, \
         image: {registry: 'r.example.com:5000/a', pullSecrets: [{name: s}]}}",
        "{agent: {metrics: {enabled: true}, bpffs: {mount: true}, seLinux: {enabled: false}}, \
         metrics: {podMonitor: {enabled: true, interval: 30s, labels: {release: p}}}, \
         networkPolicy: {metricsFrom: [{namespaceSelector: {}}]}, \
         operator: {insecureRegistries: ['r:5000'], topologySpreadConstraints: \
         [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}]}}",
    ]
}

/// Objects.
pub struct Rendered(pub Vec<Value>);

impl Rendered {
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|d| d["kind"] == kind && d["metadata"]["name"] == name)
    }

    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub fn operator(&self) -> &Value {
        &self.get("Deployment", "bpfleet-operator")["spec"]["template"]
    }

    pub fn agent(&self) -> &Value {
        &self.get("DaemonSet", "bpfleet-agent")["spec"]["template"]
    }

    /// Every pod or template of pods, with the name of what it is in.
    pub fn pods(&self) -> Vec<(&str, &Value)> {
        let pods: Vec<(&str, &Value)> = self
            .0
            .iter()
            .filter_map(|document| {
                let pod = match document["kind"].as_str()? {
                    "Pod" => document,
                    "Deployment" | "DaemonSet" | "Job" => &document["spec"]["template"],
                    _ => return None,
                };
                Some((document["metadata"]["name"].as_str()?, pod))
            })
            .collect();
        assert!(pods.len() >= 3, "{} pods", pods.len());
        pods
    }
}

/// The containers of a pod, those that only prepare it first.
pub fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .into_iter()
        .filter_map(|key| pod["spec"][key].as_array())
        .flatten()
        .collect()
}

pub fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Labels of `object` include all of `selector`.
pub fn matches(selector: &Value, object: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    assert!(!selector.is_empty());
    selector
        .iter()
        .all(|(key, value)| object["metadata"]["labels"][key] == *value)
}

/// A value below nested maps, as `a.b.c` names it.
pub fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, key| {
        Value::Object(Map::from_iter([(key.to_owned(), inner)]))
    })
}

/// Maps merged as Helm merges them.
pub fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
