use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::program::fixtures::{input, inspected, objects, program, revision};

fn check_hooks(programs: &[(&str, &str)], spec: Value) -> Result<Accepted, Fault> {
    let mut input = input();
    input.program = program(&spec);
    input.objects = Ok(vec![(
        "main".to_owned(),
        objects("v1", Some(inspected(programs))),
    )]);
    validate(&input)
}

fn hook(name: &str, program: &str, target: Value) -> Value {
    let mut alternative = json!({"program": program});
    if !target.is_null() {
        alternative["target"] = target;
    }
    json!({"name": name, "anyOf": [alternative]})
}

const EXEC: (&str, &str) = ("on_exec", "tracepoint/sched/sched_process_exec");

#[rstest]
#[case::no_hooks(&[EXEC], json!({}))]
#[case::named(&[EXEC], json!({"hooks": [hook("exec", "on_exec", Value::Null)]}))]
#[case::another_target(&[EXEC], json!({"hooks": [hook("exec", "on_exec", json!({"tracepoint": "sched/sched_switch"}))]}))]
#[case::cgroup_without_target(&[("c", "cgroup_skb/ingress")], json!({}))]
#[case::xdp(&[("x", "xdp")], json!({"hooks": [hook("x", "x", json!({"interface": {"name": "eth0"}}))]}))]
#[case::kernel_function(&[("k", "kprobe/do_exit")], json!({}))]
#[case::unserved_kind_that_no_hook_names(&[EXEC, ("k", "struct_ops/init")], json!({"hooks": [hook("exec", "on_exec", Value::Null)]}))]
fn what_is_right_is_accepted(#[case] programs: &[(&str, &str)], #[case] spec: Value) {
    let accepted = check_hooks(programs, spec).unwrap();
    assert!(accepted.revision.starts_with("p-"));
    assert_eq!(accepted.sources.len(), 1);
}

#[rstest]
#[case::unknown_program(&[EXEC], json!({"hooks": [hook("h", "on_exce", Value::Null)]}), ProgramReason::InvalidSpec, "did you mean on_exec?")]
#[case::missing_interface(&[("x", "xdp")], json!({}), ProgramReason::InvalidSpec, "target.interface")]
#[case::missing_direction(&[("t", "tc")], json!({"hooks": [hook("t", "t", json!({"interface": {"name": "eth0"}}))]}), ProgramReason::InvalidSpec, "direction")]
#[case::wrong_member(&[EXEC], json!({"hooks": [hook("h", "on_exec", json!({"interface": {"name": "eth0"}}))]}), ProgramReason::InvalidSpec, "target.interface does not fit")]
#[case::two_xdp_on_one_interface(&[("a", "xdp"), ("b", "xdp")], json!({"hooks": [
    hook("a", "a", json!({"interface": {"name": "eth0"}})), hook("b", "b", json!({"interface": {"name": "eth0"}}))]}), ProgramReason::InvalidSpec, "the kernel runs only one")]
#[case::no_sock_map(&[("m", "sk_msg")], json!({}), ProgramReason::InvalidSpec, "SOCKMAP or SOCKHASH")]
#[case::two_hooks_of_a_name(&[EXEC], json!({"hooks": [hook("h", "on_exec", Value::Null), hook("h", "on_exec", Value::Null)]}), ProgramReason::InvalidSpec, "two hooks are called h")]
#[case::unserved_kind(&[("k", "struct_ops/init")], json!({}), ProgramReason::InvalidObject, "kernel operations are not served")]
#[case::alternative_that_nobody_has(&[EXEC], json!({"hooks": [{"name": "h", "anyOf": [{"program": "on_exec"}, {"program": "on_exce"}]}]}), ProgramReason::InvalidSpec, "no variant's object has a program on_exce; did you mean on_exec?")]
#[case::unknown_map(&[EXEC], json!({"maps": [{"name": "hists", "maxEntries": 3}]}), ProgramReason::InvalidSpec, "no variant's object has a map hists")]
#[case::unknown_feature(&[EXEC], json!({"variants": [{"name": "main", "object": {"configMap": {"name": "m", "key": "k"}}, "requires": [{"feature": "map/ringbuff"}]}]}), ProgramReason::InvalidSpec, "variant main: requires[0]: there is no feature \"map/ringbuff\"; did you mean map/ringbuf?")]
#[case::unknown_section(&[("u", "no_such_kind")], json!({}), ProgramReason::InvalidObject, "none that libbpf knows")]
#[case::selector(&[EXEC], json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}), ProgramReason::InvalidSpec, "is no operator")]
fn what_is_wrong_is_refused_with_the_fix(
    #[case] programs: &[(&str, &str)],
    #[case] spec: Value,
    #[case] reason: ProgramReason,
    #[case] message: &str,
) {
    let fault = check_hooks(programs, spec).unwrap_err();
    assert_eq!(fault.reason, reason, "{fault}");
    assert!(fault.message.contains(message), "{fault}");
    assert!(!fault.retry);
}

#[test]
fn a_thousand_problems_make_one_bounded_message() {
    let names: Vec<String> = (0..1000).map(|index| format!("program_number_{index}")).collect();
    let programs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "xdp")).collect();
    let fault = check_hooks(&programs, json!({})).unwrap_err();
    assert!(fault.message.len() <= MAX_MESSAGE_BYTES);
    assert!(fault.message.contains("and 992 more"), "{fault}");
}

#[test]
fn a_known_revision_needs_no_bytes_and_an_unknown_one_does() {
    let mut input = input();
    let name = validate(&input).unwrap().revision;
    input.objects = Ok(vec![("main".to_owned(), objects("v1", None))]);
    assert!(validate(&input).unwrap_err().retry);
    input.revisions = vec![revision(&name, 0, "v1")];
    assert_eq!(validate(&input).unwrap().revision, name);
}

#[test]
fn a_lost_source_is_accepted_with_a_warning() {
    let mut input = input();
    let Ok(all) = &mut input.objects else {
        unreachable!()
    };
    all[0].1.warning = Some("there is no ConfigMap m".to_owned());
    assert_eq!(validate(&input).unwrap().warnings, ["there is no ConfigMap m"]);
}
