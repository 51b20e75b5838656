//! The verifier's log, for a person.

use bpf_object::Poisoned;

/// What stands in place of an instruction whose CO-RE relocation found nothing (0xbad2310, as libbpf has it).
const POISON: &str = "unknown#195896080";
/// What stands in place of a call of a `__weak` function that this kernel lacks begins so (as with libbpf).
const POISON_FUNCTION: &str = "unknown#2002";

/// Lines that the verifier writes after its verdict.
const STATISTICS: [&str; 5] = [
    "processed ",
    "verification time",
    "stack depth",
    "mark_precise:",
    "max_states",
];
/// What it writes of each subprogram after that, on newer kernels (7.3).
const SUBPROGRAM: &str = " insns_self ";

/// The verdict: the last line that says why, with a poisoned instruction named for what it stands for.
pub fn verdict(poisoned: &[Poisoned], log: &str) -> String {
    let line = log
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !is_statistics(line))
        .unwrap_or("the verifier gave no reason");
    if poison(line).is_none() {
        return line.to_owned();
    }
    let missing = log
        .lines()
        .rev()
        .filter(|line| poison(line).is_some())
        .find_map(|line| stands_for(poisoned, line));
    match missing {
        Some(missing) => missing.message.clone(),
        None => format!(
            "the object refers to something that this kernel lacks ({})",
            without_poison(line)
        ),
    }
}

fn is_statistics(line: &str) -> bool {
    STATISTICS.iter().any(|start| line.starts_with(start))
        || line.starts_with("subprog ") && line.contains(SUBPROGRAM)
}

/// The log with poisoned instructions named for what they stand for.
pub fn translate(poisoned: &[Poisoned], log: &str) -> String {
    if poison(log).is_none() {
        return log.to_owned();
    }
    let mut out = String::with_capacity(log.len());
    for line in log.lines() {
        match (poison(line), stands_for(poisoned, line)) {
            (Some(word), Some(missing)) => {
                out.push_str(&line.replace(word, &format!("<{}>", missing.message)));
            }
            _ => out.push_str(&without_poison(line)),
        }
        out.push('\n');
    }
    out
}

/// The word in a text that stands for something that this kernel lacks.
fn poison(text: &str) -> Option<&str> {
    let start = text.find(POISON).or_else(|| text.find(POISON_FUNCTION))?;
    let rest = text.get(start..)?;
    let digits = rest.find('#').map_or(0, |at| at + 1);
    let end = rest
        .char_indices()
        .skip(digits)
        .find(|(_, c)| !c.is_ascii_digit())
        .map_or(rest.len(), |(at, _)| at);
    rest.get(..end)
}

fn without_poison(line: &str) -> String {
    poison(line).map_or_else(
        || line.to_owned(),
        |word| line.replace(word, "<something that this kernel lacks>"),
    )
}

/// What the poisoned instruction of a line stands for.
fn stands_for<'p>(poisoned: &'p [Poisoned], line: &str) -> Option<&'p Poisoned> {
    let index = instruction(line)?;
    poisoned.iter().find(|p| u64::from(p.instruction) == index)
}

/// The instruction's index in a line such as `12: (85) call unknown#195896080`.
fn instruction(line: &str) -> Option<u64> {
    line.trim_start()
        .split_once(": (")
        .and_then(|(index, _)| index.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_last_line_before_the_statistics() {
        let log = "0: R1=ctx()\n1: (61) r0 = *(u32 *)(r1 +4000)\ninvalid bpf_context access off=4000 size=4\n\
                   verification time 12 usec\nstack depth 0\nprocessed 2 insns (limit 1000000) max_states_per_insn 0\n";
        assert_eq!(verdict(&[], log), "invalid bpf_context access off=4000 size=4");
        assert_eq!(verdict(&[], ""), "the verifier gave no reason");
        let log = "invalid mem access 'scalar'\nprocessed 43 insns (limit 1000000) max_states_per_insn 0\n\
                   subprog 1 (helper) static insns_self 43 insns_total 43 stack 8\n";
        assert_eq!(verdict(&[], log), "invalid mem access 'scalar'");
    }

    #[test]
    fn a_poisoned_instruction_is_never_shown_as_an_unknown_function() {
        let log = "12: (85) call unknown#195896080\ninvalid func unknown#195896080\n";
        assert!(!verdict(&[], log).contains("195896080"));
        assert!(!translate(&[], log).contains("195896080"));
        let poisoned = [Poisoned {
            instruction: 12,
            function: "f".into(),
            message: "field a.b does not exist in this kernel".into(),
        }];
        for word in ["195896080", "2002000003"] {
            let log = format!("12: (85) call unknown#{word}\ninvalid func unknown#{word}\n");
            assert_eq!(
                verdict(&poisoned, &log),
                "field a.b does not exist in this kernel"
            );
            let translated = translate(&poisoned, &log);
            assert!(
                translated.starts_with("12: (85) call <field a.b does not exist in this kernel>\n"),
                "{translated}"
            );
            assert!(!translated.contains(word), "{translated}");
        }
    }
}
