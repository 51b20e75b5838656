//! The admission policy that holds an agent to its own node, evaluated.

use bpfleet_crds::names::{AGENT_SERVICE_ACCOUNT, DEFAULT_NAMESPACE};
use cel::{Context, Program, Value as Cel};
use serde_json::{Map, Value, json};

use crate::support::render;

const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

fn evaluate(expression: &Value, request: &Value, variables: &Map<String, Value>) -> Cel {
    let expression = expression.as_str().unwrap();
    let program = Program::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut context = Context::default();
    context.add_variable("request", request).unwrap();
    context.add_variable("variables", variables).unwrap();
    program
        .execute(&context)
        .unwrap_or_else(|error| panic!("{expression}: {error}: {request}"))
}

fn truth(expression: &Value, request: &Value, variables: &Map<String, Value>) -> bool {
    match evaluate(expression, request, variables) {
        Cel::Bool(truth) => truth,
        other => panic!("{expression}: {other:?}"),
    }
}

fn text(expression: &Value, request: &Value, variables: &Map<String, Value>) -> String {
    match evaluate(expression, request, variables) {
        Cel::String(text) => text.to_string(),
        other => panic!("{expression}: {other:?}"),
    }
}

/// What the API server answers to a request: nothing if it may pass, else the first message.
fn answer(request: &Value) -> Result<(), String> {
    let rendered = render("{}");
    let policy = &rendered.get("ValidatingAdmissionPolicy", "bpfleet-agent-own-node")["spec"];
    let mut variables = Map::new();
    let list = |key: &str| policy[key].as_array().unwrap().clone();
    if !list("matchConditions")
        .iter()
        .all(|condition| truth(&condition["expression"], request, &variables))
    {
        return Ok(());
    }
    for variable in list("variables") {
        let value = text(&variable["expression"], request, &variables);
        variables.insert(variable["name"].as_str().unwrap().to_owned(), json!(value));
    }
    for validation in list("validations") {
        if !truth(&validation["expression"], request, &variables) {
            return Err(text(&validation["messageExpression"], request, &variables));
        }
    }
    Ok(())
}

fn agent_of(node: Option<&str>) -> Value {
    let mut user =
        json!({"username": format!("system:serviceaccount:{DEFAULT_NAMESPACE}:{AGENT_SERVICE_ACCOUNT}")});
    if let Some(node) = node {
        user["extra"] = json!({NODE_NAME: [node], "authentication.kubernetes.io/pod-name": ["p"]});
    }
    user
}

#[test]
fn an_agent_writes_the_status_of_its_own_node_and_nothing_else() {
    let status = |user: Value, name: &str| json!({"operation": "UPDATE", "subResource": "status", "name": name, "userInfo": user});
    assert_eq!(answer(&status(agent_of(Some("a")), "a")), Ok(()));

    let mut emptied = agent_of(Some("a"));
    emptied["extra"] = json!({NODE_NAME: []});
    let mut other_claims = agent_of(Some("a"));
    other_claims["extra"] = json!({"authentication.kubernetes.io/pod-name": ["p"]});
    let a = || agent_of(Some("a"));
    for (request, says) in [
        (
            status(a(), "b"),
            r#"the bpfleet agent of node "a" may not write the status of BpfNode "b""#,
        ),
        (
            status(agent_of(None), "a"),
            r#"this token of the bpfleet agent is bound to no pod on a node, so it may not write BpfNode "a""#,
        ),
        (status(emptied, "a"), "is bound to no pod on a node"),
        (status(other_claims, "a"), "is bound to no pod on a node"),
        (
            json!({"operation": "UPDATE", "name": "a", "userInfo": a()}),
            r#"the bpfleet agent of node "a" may write no more of a BpfNode than its status: no UPDATE of BpfNode "a""#,
        ),
        (
            json!({"operation": "DELETE", "name": "a", "object": null, "userInfo": a()}),
            r#"no DELETE of BpfNode "a""#,
        ),
        // A collection is deleted without a name, and created objects may have none yet.
        (
            json!({"operation": "DELETE", "userInfo": a()}),
            r#"no DELETE of BpfNode """#,
        ),
        (
            json!({"operation": "CREATE", "userInfo": a()}),
            r#"no CREATE of BpfNode """#,
        ),
        (
            json!({"operation": "CREATE", "subResource": "status", "name": "a", "userInfo": a()}),
            r#"no CREATE of BpfNode "a""#,
        ),
    ] {
        let message = answer(&request).expect_err(&request.to_string());
        assert!(message.contains(says), "{request}: {message}");
    }
}

#[test]
fn the_policy_is_about_nobody_but_the_agents_of_this_release() {
    for user in [
        "system:serviceaccount:bpfleet-system:bpfleet-operator",
        "system:serviceaccount:elsewhere:bpfleet-agent",
        "kubernetes-admin",
    ] {
        let request = json!({"operation": "DELETE", "name": "a", "userInfo": {"username": user}});
        assert_eq!(answer(&request), Ok(()), "{user}");
    }
}

#[test]
fn the_policy_denies_and_covers_every_write_of_a_node_and_fails_closed() {
    let rendered = render("{}");
    let policy = &rendered.get("ValidatingAdmissionPolicy", "bpfleet-agent-own-node")["spec"];
    assert_eq!(policy["failurePolicy"], "Fail");
    assert_eq!(
        policy["matchConstraints"]["resourceRules"],
        json!([{
            "apiGroups": ["bpfleet.io"],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "resources": ["bpfnodes", "bpfnodes/status"],
        }])
    );
    let binding = &rendered.get("ValidatingAdmissionPolicyBinding", "bpfleet-agent-own-node")["spec"];
    assert_eq!(binding["policyName"], "bpfleet-agent-own-node");
    assert_eq!(binding["validationActions"], json!(["Deny"]));
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let without = render("admissionPolicy: {enabled: false}");
        assert!(without.find(kind, "bpfleet-agent-own-node").is_none());
    }
}
