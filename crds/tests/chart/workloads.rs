//! The pods: who they are, what they may do, what they see.

use std::collections::{BTreeMap, BTreeSet};

use bpfleet_crds::names;
use serde_json::{Value, json};

use crate::support::{Rendered, containers, matches, render, strings, value_sets};

fn args(container: &Value) -> Vec<&str> {
    strings(container, "args")
}

fn env(container: &Value) -> BTreeMap<&str, String> {
    let variables = container["env"].as_array().unwrap();
    variables
        .iter()
        .map(|variable| {
            let from = &variable["valueFrom"]["fieldRef"]["fieldPath"];
            let value = variable["value"].as_str().or(from.as_str()).unwrap();
            (variable["name"].as_str().unwrap(), value.to_owned())
        })
        .collect()
}

fn capabilities(values: &str) -> Vec<String> {
    let rendered = render(values);
    let context = &rendered.agent()["spec"]["containers"][0]["securityContext"];
    strings(&context["capabilities"], "add")
        .into_iter()
        .map(String::from)
        .collect()
}

#[test]
fn nothing_is_privileged_unless_it_was_asked_for() {
    let privileged = |values: &str| -> Vec<String> {
        let rendered = render(values);
        let found = rendered.pods().into_iter().flat_map(|(pod, spec)| {
            containers(spec)
                .into_iter()
                .filter(|c| c["securityContext"]["privileged"] == true)
                .map(move |c| format!("{pod}/{}", c["name"].as_str().unwrap()))
        });
        found.collect()
    };
    assert_eq!(privileged("{}"), [""; 0]);
    assert_eq!(privileged("agent: {privileges: SysAdmin}"), [""; 0]);
    assert_eq!(
        privileged("agent: {bpffs: {mount: true}}"),
        ["bpfleet-agent/mount-bpffs"]
    );
    assert_eq!(
        privileged("agent: {privileges: Privileged}"),
        ["bpfleet-agent/agent"]
    );
}

/// Pod Security's level `restricted`, without the details that no pod here could get wrong.
#[test]
fn every_pod_but_the_agents_is_fit_for_a_restricted_namespace() {
    for values in value_sets() {
        let rendered = render(values);
        for (name, pod) in rendered.pods() {
            if name == "bpfleet-agent" {
                continue;
            }
            let spec = &pod["spec"];
            for key in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(spec.get(key).is_none(), "{name}: {key}");
            }
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(
                spec["securityContext"]["seccompProfile"]["type"],
                "RuntimeDefault"
            );
            for volume in spec["volumes"].as_array().into_iter().flatten() {
                assert!(volume.get("hostPath").is_none(), "{name}: {volume}");
            }
            for container in containers(pod) {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}");
            }
        }
    }
}

#[test]
fn the_operators_user_is_fixed_except_on_openshift_which_has_its_own() {
    let user = |values: &str| {
        let rendered = render(values);
        let context = &rendered.operator()["spec"]["securityContext"];
        (context["runAsUser"].clone(), context["fsGroup"].clone())
    };
    assert_eq!(user("{}"), (json!(65532), json!(65532)));
    assert_eq!(user("{openshift: {enabled: true}}"), (Value::Null, Value::Null));
}

#[test]
fn an_agent_has_the_capabilities_that_its_kernel_wants_and_no_others() {
    let base = ["BPF", "PERFMON", "NET_ADMIN", "DAC_OVERRIDE"];
    assert_eq!(capabilities("{}"), base);
    assert_eq!(
        capabilities("agent: {privileges: SysAdmin}"),
        ["SYS_ADMIN", "SYS_RESOURCE", "NET_ADMIN", "DAC_OVERRIDE"]
    );
    assert_eq!(
        capabilities("agent: {extraCapabilities: [SYSLOG, BPF]}"),
        [&base[..], &["SYSLOG"]].concat()
    );

    let rendered = render("{}");
    let agent = &rendered.agent()["spec"]["containers"][0];
    let context = &agent["securityContext"];
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(context["runAsUser"], 0);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(context["appArmorProfile"]["type"], "Unconfined");
    assert_eq!(context["seLinuxOptions"], json!({"type": "spc_t"}));
    let plain = render("agent: {seLinux: {enabled: false}}");
    let context = &plain.agent()["spec"]["containers"][0]["securityContext"];
    assert!(context.get("seLinuxOptions").is_none());
}

#[test]
fn openshifts_constraints_allow_what_the_agent_asks_for() {
    for values in [
        "{openshift: {enabled: true}}",
        "{openshift: {enabled: true}, agent: {privileges: SysAdmin, extraCapabilities: [SYSLOG]}}",
        "{openshift: {enabled: true}, agent: {privileges: Privileged}}",
        "{openshift: {enabled: true}, agent: {bpffs: {mount: true}}}",
    ] {
        let rendered = render(values);
        let allowed = rendered.get("SecurityContextConstraints", "bpfleet-agent");
        let capabilities: BTreeSet<&str> = strings(allowed, "allowedCapabilities").into_iter().collect();
        let volumes = strings(allowed, "volumes");
        let pod = rendered.agent();
        for container in containers(pod) {
            let context = &container["securityContext"];
            if context["privileged"] == true {
                assert_eq!(allowed["allowPrivilegedContainer"], true, "{values}");
            }
            for capability in strings(&context["capabilities"], "add") {
                assert!(capabilities.contains(capability), "{values}: {capability}");
            }
        }
        for volume in pod["spec"]["volumes"].as_array().unwrap() {
            let kind = volume
                .as_object()
                .unwrap()
                .keys()
                .find(|key| *key != "name")
                .unwrap();
            assert!(volumes.contains(&kind.as_str()), "{values}: {kind}");
        }
    }
}

#[test]
fn an_agent_sees_the_host_and_writes_only_to_bpffs_and_its_cache() {
    let mounts = |rendered: &Rendered| -> BTreeMap<String, (String, bool)> {
        let agent = rendered.agent();
        let volumes = agent["spec"]["volumes"].as_array().unwrap();
        let mounts = agent["spec"]["containers"][0]["volumeMounts"].as_array().unwrap();
        mounts
            .iter()
            .map(|mount| {
                let volume = volumes.iter().find(|v| v["name"] == mount["name"]).unwrap();
                let source = match volume["hostPath"]["path"].as_str() {
                    Some(path) => {
                        if path != "/var/lib/bpfleet" {
                            assert_eq!(mount["mountPropagation"], "HostToContainer", "{mount}");
                            // Never made on the host: it is there, or it is no host for this.
                            assert_eq!(volume["hostPath"]["type"], "Directory", "{volume}");
                        }
                        format!("host {path}")
                    }
                    None => volume
                        .as_object()
                        .unwrap()
                        .keys()
                        .find(|key| *key != "name")
                        .unwrap()
                        .clone(),
                };
                let path = mount["mountPath"].as_str().unwrap().to_owned();
                (path, (source, mount["readOnly"] == true))
            })
            .collect()
    };
    let expected = |cache: &str| {
        BTreeMap::from(
            [
                ("/host", "host /", true),
                ("/sys/fs/bpf", "host /sys/fs/bpf", false),
                ("/sys/kernel", "host /sys/kernel", true),
                ("/var/lib/bpfleet", cache, false),
                ("/etc/bpfleet/artifacts", "configMap", true),
                ("/var/run/secrets/bpfleet", "projected", true),
            ]
            .map(|(path, source, read_only)| (path.to_owned(), (source.to_owned(), read_only))),
        )
    };
    assert_eq!(mounts(&render("{}")), expected("emptyDir"));
    assert_eq!(
        mounts(&render("agent: {cache: {hostPath: /var/lib/bpfleet}}")),
        expected("host /var/lib/bpfleet")
    );
}

#[test]
fn only_the_init_container_mounts_on_the_host_and_only_bpffs() {
    let rendered = render("agent: {bpffs: {mount: true}}");
    let spec = &rendered.agent()["spec"];
    let init = &spec["initContainers"][0];
    assert_eq!(args(init), ["mount-bpffs"]);
    assert_eq!(init["image"], spec["containers"][0]["image"]);
    assert_eq!(
        init["volumeMounts"],
        json!([{"name": "bpffs", "mountPath": "/sys/fs/bpf", "mountPropagation": "Bidirectional"}])
    );
    assert!(
        !spec["containers"].to_string().contains("Bidirectional"),
        "{}",
        spec["containers"]
    );
    assert!(render("{}").agent()["spec"].get("initContainers").is_none());
}

#[test]
fn an_agents_token_for_the_endpoint_and_its_configuration_have_the_names_in_code() {
    let rendered = render("{}");
    let volumes = &rendered.agent()["spec"]["volumes"];
    let volume = |name: &str| {
        let all = volumes.as_array().unwrap();
        all.iter().find(|v| v["name"] == name).unwrap()
    };
    assert_eq!(
        volume("artifacts")["configMap"],
        json!({"name": names::ARTIFACT_CONFIG_MAP, "optional": true})
    );
    assert_eq!(
        volume("token")["projected"]["sources"],
        json!([{"serviceAccountToken":
            {"path": "token", "audience": names::ARTIFACT_AUDIENCE, "expirationSeconds": 3600}}])
    );
}

#[test]
fn an_agent_runs_on_every_linux_node_on_the_hosts_network_one_at_a_time() {
    let rendered = render("{}");
    let set = rendered.get("DaemonSet", "bpfleet-agent");
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0}})
    );
    let spec = &rendered.agent()["spec"];
    assert_eq!(spec["hostNetwork"], true);
    assert_eq!(spec["dnsPolicy"], "Default");
    assert_eq!(spec["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    assert_eq!(spec["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(spec["priorityClassName"], "system-node-critical");
    for key in ["hostPID", "hostIPC"] {
        assert!(spec.get(key).is_none(), "{key}");
    }
    let container = &spec["containers"][0];
    let env = env(container);
    assert_eq!(env["NODE_NAME"], "spec.nodeName");
    assert_eq!(env["BPFLEET_HOST_ROOT"], "/host");
    assert_eq!(env["RUST_LOG"], "info,kube_client=off");
    assert!(args(container).starts_with(&["serve"]));
}

#[test]
fn an_agents_health_stays_on_loopback_and_its_metrics_leave_it_on_request() {
    let agent = |values: &str| render(values).agent()["spec"]["containers"][0].clone();
    let plain = agent("agent: {healthPort: 9000}");
    assert!(args(&plain).contains(&"--health-listen=127.0.0.1:9000"));
    assert!(!args(&plain).iter().any(|arg| arg.starts_with("--metrics-listen")));
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &plain[probe]["httpGet"];
        assert_eq!(
            (get["host"].as_str(), get["port"].as_u64()),
            (Some("127.0.0.1"), Some(9000))
        );
    }
    assert_eq!(plain["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(plain["readinessProbe"]["httpGet"]["path"], "/readyz");
    // The kubelet refreshes the ConfigMap's files when the first of these succeeds.
    assert_eq!(plain["readinessProbe"]["periodSeconds"], 3);
    assert_eq!(plain["ports"].as_array().unwrap().len(), 1);

    let measured = agent("agent: {metrics: {enabled: true, port: 9001}}");
    assert!(args(&measured).contains(&"--metrics-listen=[::]:9001"));
    let ports = measured["ports"].as_array().unwrap();
    let metrics = ports.iter().find(|port| port["name"] == "metrics").unwrap();
    assert_eq!(
        (&metrics["containerPort"], &metrics["hostPort"]),
        (&json!(9001), &json!(9001))
    );
}

#[test]
fn the_operator_is_told_its_service_its_namespace_and_its_name() {
    let rendered =
        render("{operator: {insecureRegistries: ['a:5000', 'b:80'], logFormat: json, logLevel: debug}}");
    let container = &rendered.operator()["spec"]["containers"][0];
    assert_eq!(
        args(container),
        [
            "serve",
            "--artifact-service=bpfleet-artifacts",
            "--artifact-listen=[::]:8443",
            "--health-listen=[::]:8080",
            "--cache-dir=/var/cache/bpfleet",
            "--log-format=json",
            "--insecure-registry=a:5000",
            "--insecure-registry=b:80",
        ]
    );
    let env = env(container);
    assert_eq!(env["POD_NAME"], "metadata.name");
    assert_eq!(env["POD_NAMESPACE"], "metadata.namespace");
    assert_eq!(env["RUST_LOG"], "debug,kube_client=off");
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "cache", "mountPath": "/var/cache/bpfleet"}])
    );
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
}

#[test]
fn the_service_leads_to_the_operators_artifact_endpoint_and_nowhere_else() {
    for values in value_sets() {
        let rendered = render(values);
        let service = rendered.get("Service", "bpfleet-artifacts");
        let selector = &service["spec"]["selector"];
        for (name, pod) in rendered.pods() {
            assert_eq!(matches(selector, pod), name == "bpfleet-operator", "{name}");
        }
        let port = &service["spec"]["ports"][0];
        assert_eq!(
            (port["port"].as_u64(), &port["targetPort"]),
            (Some(8443), &json!("artifacts"))
        );
        let ports = rendered.operator()["spec"]["containers"][0]["ports"].clone();
        assert!(
            ports
                .as_array()
                .unwrap()
                .contains(&json!({"name": "artifacts", "containerPort": 8443})),
            "{ports}"
        );
    }
}

#[test]
fn selectors_find_the_pods_of_their_own_component_by_the_labels_in_code() {
    for values in value_sets() {
        let rendered = render(values);
        for (kind, name, component) in [
            ("Deployment", "bpfleet-operator", names::OPERATOR_COMPONENT),
            ("DaemonSet", "bpfleet-agent", names::AGENT_COMPONENT),
        ] {
            let selector = json!({names::APP_LABEL: names::APP_NAME, names::COMPONENT_LABEL: component});
            assert_eq!(
                rendered.get(kind, name)["spec"]["selector"]["matchLabels"],
                selector
            );
            for (other, pod) in rendered.pods() {
                assert_eq!(matches(&selector, pod), other == name, "{other}");
            }
        }
        let budget = rendered.get("PodDisruptionBudget", "bpfleet-operator");
        assert_eq!(budget["spec"]["minAvailable"], 1);
        let policy = rendered.find("NetworkPolicy", "bpfleet-operator");
        let selectors = [
            Some(&budget["spec"]["selector"]["matchLabels"]),
            policy.map(|policy| &policy["spec"]["podSelector"]["matchLabels"]),
        ];
        for selector in selectors.into_iter().flatten() {
            for (name, pod) in rendered.pods() {
                assert_eq!(matches(selector, pod), name == "bpfleet-operator", "{name}");
            }
        }
    }
}

#[test]
fn replicas_of_the_operator_rather_run_on_different_nodes() {
    let rendered = render("{}");
    let affinity = &rendered.operator()["spec"]["affinity"]["podAntiAffinity"];
    let term = &affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    assert!(matches(
        &term["labelSelector"]["matchLabels"],
        rendered.operator()
    ));
}

#[test]
fn replicas_are_spread_as_asked_by_the_labels_of_the_operator_unless_others_are_given() {
    let constraint = "maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway";
    let rendered = render(&format!(
        "operator: {{topologySpreadConstraints: [{{{constraint}}}, {{{constraint}, labelSelector: {{matchExpressions: []}}}}]}}"
    ));
    let constraints = rendered.operator()["spec"]["topologySpreadConstraints"]
        .as_array()
        .unwrap();
    assert_eq!(
        (constraints.len(), &constraints[0]["topologyKey"]),
        (2, &json!("zone"))
    );
    assert!(matches(
        &constraints[0]["labelSelector"]["matchLabels"],
        rendered.operator()
    ));
    assert_eq!(constraints[1]["labelSelector"], json!({"matchExpressions": []}));
}

#[test]
fn anyone_may_ask_for_artifacts_and_only_those_named_may_scrape() {
    let ingress = |values: &str| {
        let rendered = render(values);
        let policy = rendered.get("NetworkPolicy", "bpfleet-operator");
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        policy["spec"]["ingress"].clone()
    };
    let artifacts = json!({"ports": [{"port": "artifacts", "protocol": "TCP"}]});
    assert_eq!(ingress("{}"), json!([artifacts]));
    let scrape = json!({
        "from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "ports": [{"port": "health", "protocol": "TCP"}],
    });
    assert_eq!(
        ingress("networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {a: b}}}]}"),
        json!([artifacts, scrape])
    );
}

#[test]
fn pod_monitors_scrape_ports_that_are_there() {
    let base = "metrics: {podMonitor: {enabled: true}}, networkPolicy: {enabled: false}";
    for (values, expected) in [
        (format!("{{{base}}}"), vec!["operator"]),
        (
            format!("{{{base}, agent: {{metrics: {{enabled: true}}}}}}"),
            vec!["agent", "operator"],
        ),
    ] {
        let rendered = render(&values);
        let mut seen = Vec::new();
        for monitor in rendered.0.iter().filter(|d| d["kind"] == "PodMonitor") {
            let name = monitor["metadata"]["name"].as_str().unwrap();
            seen.push(name.strip_prefix("bpfleet-").unwrap());
            let pods = rendered.pods();
            let (_, pod) = pods
                .iter()
                .find(|(_, pod)| matches(&monitor["spec"]["selector"]["matchLabels"], pod))
                .unwrap();
            let wanted = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
            let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
            assert!(ports.iter().any(|port| port["name"] == *wanted), "{wanted}");
        }
        seen.sort_unstable();
        assert_eq!(seen, expected);
    }
}
