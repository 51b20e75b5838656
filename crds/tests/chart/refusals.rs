//! What the chart does not take, and what it says then.

use crate::support::{refusal, render};

#[test]
fn the_schema_refuses_what_is_no_value_of_its_kind_and_names_it() {
    for (values, says) in [
        (
            "crd: {enabled: false}",
            "at '': additional properties 'crd' not allowed",
        ),
        (
            "operator: {replica: 1}",
            "at '/operator': additional properties 'replica' not allowed",
        ),
        (
            "crds: {enabled: 'yes'}",
            "at '/crds/enabled': got string, want boolean",
        ),
        (
            "operator: {replicas: 0}",
            "at '/operator/replicas': minimum: got 0, want 1",
        ),
        (
            "operator: {replicas: two}",
            "at '/operator/replicas': got string, want integer",
        ),
        (
            "operator: {logFormat: xml}",
            "at '/operator/logFormat': value must be one of 'text', 'json'",
        ),
        (
            "agent: {logLevel: verbose}",
            "at '/agent/logLevel': value must be one of 'error', 'warn', 'info', 'debug', 'trace'",
        ),
        (
            "agent: {privileges: Root}",
            "at '/agent/privileges': value must be one of 'Capabilities', 'SysAdmin', 'Privileged'",
        ),
        (
            "agent: {healthPort: 70000}",
            "at '/agent/healthPort': maximum: got 70,000, want 65,535",
        ),
        (
            "artifacts: {port: 0}",
            "at '/artifacts/port': minimum: got 0, want 1",
        ),
        (
            "agent: {image: {digest: 'md5:1'}}",
            "at '/agent/image/digest': 'md5:1' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
        ),
        (
            "image: {registry: 'https://r.example.com'}",
            "at '/image/registry': 'https://r.example.com' does not match pattern",
        ),
        (
            "image: {pullPolicy: Sometimes}",
            "at '/image/pullPolicy': value must be one of",
        ),
        (
            "image: {pullSecrets: [s]}",
            "at '/image/pullSecrets/0': got string, want object",
        ),
        (
            "agent: {cache: {sizeLimit: lots}}",
            "at '/agent/cache/sizeLimit': 'lots' does not match pattern",
        ),
        (
            "agent: {updateStrategy: {maxUnavailable: 0}}",
            "at '/agent/updateStrategy/maxUnavailable': minimum: got 0, want 1",
        ),
        (
            "agent: {updateStrategy: {maxUnavailable: '0%'}}",
            "at '/agent/updateStrategy/maxUnavailable': '0%' does not match pattern",
        ),
        (
            "operator: {resources: {limits: {memory: lots}}}",
            "at '/operator/resources/limits/memory': 'lots' does not match pattern",
        ),
        (
            "operator: {podLabels: {'a b': c}}",
            "at '/operator/podLabels': additional properties 'a b' not allowed",
        ),
        (
            "operator: {podAnnotations: {a: 1}}",
            "at '/operator/podAnnotations/a': got number, want string",
        ),
        (
            "operator: {insecureRegistries: ['http://r']}",
            "at '/operator/insecureRegistries/0': 'http://r' does not match pattern",
        ),
        (
            "agent: {tolerations: [{key: a, operator: Is}]}",
            "at '/agent/tolerations/0/operator': value must be one of",
        ),
        (
            "networkPolicy: {metricsFrom: [{}]}",
            "at '/networkPolicy/metricsFrom/0': minProperties: got 0, want 1",
        ),
        (
            "uninstall: {timeoutSeconds: 1}",
            "at '/uninstall/timeoutSeconds': minimum: got 1, want 10",
        ),
        ("operator: null", "at '': missing property 'operator'"),
        (
            "agent: {metrics: {port: null}}",
            "at '/agent/metrics': missing property 'port'",
        ),
    ] {
        let message = refusal(values);
        assert!(message.contains(says), "{values}: {message}");
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_with_what_to_change() {
    for (values, says) in [
        (
            "operator: {replicas: 1}",
            "set operator.replicas to 2 or more, or operator.podDisruptionBudget.enabled to false",
        ),
        (
            "operator: {cache: {sizeLimit: 512Mi}}",
            "operator.cache.sizeLimit is 512Mi, but the operator keeps up to 1Gi there and its pods would be evicted: \
             set it to 1Gi or more",
        ),
        (
            "agent: {healthPort: 9000, metrics: {enabled: true, port: 9000}}",
            "agent.metrics.port and agent.healthPort are both 9000 on the same node: change one of them",
        ),
        (
            "agent: {cache: {hostPath: var/lib/bpfleet}}",
            "agent.cache.hostPath is \"var/lib/bpfleet\", which is not an absolute path: write one such as \
             /var/lib/bpfleet",
        ),
        (
            "agent: {cache: {hostPath: /var/../etc}}",
            "agent.cache.hostPath is \"/var/../etc\": write it as /etc",
        ),
        (
            "agent: {cache: {hostPath: /}}",
            "agent.cache.hostPath is \"/\", where no file can be kept",
        ),
        (
            "agent: {cache: {hostPath: /sys/fs/bpf}}",
            "agent.cache.hostPath is \"/sys/fs/bpf\", where no file can be kept",
        ),
        (
            "agent: {extraCapabilities: [CAP_SYSLOG]}",
            "agent.extraCapabilities has CAP_SYSLOG: Kubernetes names it SYSLOG",
        ),
        (
            "agent: {extraCapabilities: [ALL]}",
            "agent.extraCapabilities has ALL: set agent.privileges to Privileged instead",
        ),
        (
            "agent: {extraCapabilities: [SYSLOG], privileges: Privileged}",
            "remove it, or set agent.privileges to Capabilities",
        ),
        (
            "operator: {podLabels: {app.kubernetes.io/name: x}}",
            "operator.podLabels has app.kubernetes.io/name, by which bpfleet finds its pods: remove it there",
        ),
        (
            "agent: {podLabels: {app.kubernetes.io/component: x}}",
            "agent.podLabels has app.kubernetes.io/component, by which bpfleet finds its pods: remove it there",
        ),
        (
            "metrics: {podMonitor: {enabled: true}}",
            "name Prometheus in networkPolicy.metricsFrom",
        ),
        (
            "networkPolicy: {enabled: false, metricsFrom: [{podSelector: {}}]}",
            "networkPolicy.metricsFrom has no effect without networkPolicy.enabled",
        ),
        (
            "{openshift: {enabled: true}, agent: {seLinux: {enabled: false}}}",
            "set agent.seLinux.enabled to true",
        ),
    ] {
        let message = refusal(values);
        assert!(message.contains(says), "{values}: {message}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let message = refusal("{operator: {replicas: 1}, agent: {cache: {hostPath: a}}}");
    for says in ["operator.replicas", "agent.cache.hostPath"] {
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn what_looks_like_a_contradiction_and_is_none_is_taken() {
    for values in [
        "operator: {replicas: 1, podDisruptionBudget: {enabled: false}}",
        // Without metrics nothing listens there.
        "agent: {healthPort: 9981}",
        "operator: {cache: {sizeLimit: 2G}}",
        "operator: {cache: {sizeLimit: '1073741824'}}",
        "agent: {cache: {hostPath: /srv/system/bpfleet}}",
        "{metrics: {podMonitor: {enabled: true}}, networkPolicy: {enabled: false}}",
        "{openshift: {enabled: true}, agent: {privileges: Privileged, seLinux: {enabled: false}}}",
        "global: {anything: true}",
    ] {
        render(values);
    }
}
