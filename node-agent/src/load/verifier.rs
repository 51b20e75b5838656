//! The verifier's log, for a person.

use bpf_object::ObjectInfo;

/// What libbpf and aya put in place of an instruction whose CO-RE relocation found nothing (0xbad2310).
const POISON: &str = "unknown#195896080";

/// Lines that the verifier writes after its verdict.
const STATISTICS: [&str; 5] = [
    "processed ",
    "verification time",
    "stack depth",
    "mark_precise:",
    "max_states",
];

/// The verdict: the last line that says why, with a poisoned instruction named for what it stands for.
pub fn verdict(object: &ObjectInfo, program: &str, log: &str) -> String {
    let line = log
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !STATISTICS.iter().any(|s| line.starts_with(s)))
        .unwrap_or("the verifier gave no reason");
    if !line.contains(POISON) {
        return line.to_owned();
    }
    match missing(object, program, log) {
        Some(missing) => missing,
        None => format!(
            "the object refers to a type or field that this kernel lacks ({})",
            without_poison(line)
        ),
    }
}

/// The log with poisoned instructions named for what they stand for.
pub fn translate(object: &ObjectInfo, program: &str, log: &str) -> String {
    if !log.contains(POISON) {
        return log.to_owned();
    }
    let mut out = String::with_capacity(log.len());
    for line in log.lines() {
        if line.contains(POISON) {
            match instruction(line).and_then(|index| object.relocation_at(program, index)) {
                Some(relocation) => {
                    out.push_str(&line.replace(POISON, &format!("<{}>", relocation.describe_missing())));
                }
                None => out.push_str(&without_poison(line)),
            }
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

fn without_poison(line: &str) -> String {
    line.replace(POISON, "<a type or field that this kernel lacks>")
}

/// What the poisoned instruction stands for: by its index in the program, otherwise (it stands in a
/// subprogram, which is counted elsewhere) by the source line that the log quotes before it.
fn missing(object: &ObjectInfo, program: &str, log: &str) -> Option<String> {
    let mut source = None;
    for line in log.lines() {
        if let Some(text) = line.trim_start().strip_prefix("; ") {
            // Since 6.9 the line's place follows: `text @ file.c:12`.
            source = Some(text.rsplit_once(" @ ").map_or(text, |(text, _)| text));
        }
        if line.contains(POISON) && instruction(line).is_some() {
            let by_index = instruction(line).and_then(|index| object.relocation_at(program, index));
            let relocation = by_index.or_else(|| object.relocations_at_line(source?).next());
            if let Some(relocation) = relocation {
                return Some(relocation.describe_missing());
            }
        }
    }
    None
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

    fn object() -> ObjectInfo {
        ObjectInfo {
            programs: Vec::new(),
            subprograms: Vec::new(),
            maps: Vec::new(),
            initial: Vec::new(),
            license: None,
            co_re: Vec::new(),
            externs: Vec::new(),
            has_btf: false,
            endian: bpf_object::Endian::HOST,
        }
    }

    #[test]
    fn the_verdict_is_the_last_line_before_the_statistics() {
        let log = "0: R1=ctx()\n1: (61) r0 = *(u32 *)(r1 +4000)\ninvalid bpf_context access off=4000 size=4\n\
                   verification time 12 usec\nstack depth 0\nprocessed 2 insns (limit 1000000) max_states_per_insn 0\n";
        assert_eq!(
            verdict(&object(), "p", log),
            "invalid bpf_context access off=4000 size=4"
        );
        assert_eq!(verdict(&object(), "p", ""), "the verifier gave no reason");
    }

    #[test]
    fn a_poisoned_instruction_is_never_shown_as_an_unknown_function() {
        let log = "12: (85) call unknown#195896080\ninvalid func unknown#195896080\n";
        assert!(!verdict(&object(), "p", log).contains("195896080"));
        assert!(!translate(&object(), "p", log).contains("195896080"));
    }
}
