//! The commands themselves: what they print, what they lock and mount, and how they end.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{
    bench::{Bench, hooks, object},
    cgroup::Cgroup,
    events,
    kernel::{self, Made},
    netns,
    running::eventually,
};

fn agent(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bpfleet-agent"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn facts_are_the_same_in_every_format() {
    let release = netns::run("uname -r").trim().to_owned();
    let (_, json, _) = agent(&["facts", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["kernelRelease"], release.as_str());
    assert_eq!(json["btf"]["kernel"], "Yes", "{json}");
    let (_, yaml, _) = agent(&["facts", "-o", "yaml"]);
    assert_eq!(serde_norway::from_str::<Value>(&yaml).unwrap(), json);
    let (output, table, _) = agent(&["facts"]);
    assert!(output.status.success());
    for fact in [
        "kernel release",
        &release,
        "kernel BTF",
        "cgroup",
        "BPF file system",
    ] {
        assert!(table.contains(fact), "{fact} is not in\n{table}");
    }
    let (_, without, _) = agent(&["facts", "-o", "json", "--kernel-btf", "/nonexistent"]);
    assert_eq!(
        serde_json::from_str::<Value>(&without).unwrap()["btf"]["kernel"],
        "No",
        "{without}"
    );
}

#[test]
fn once_loads_says_so_and_leaves_nothing() {
    let bench = Bench::new();
    let file = bench.program("p", &object("counter_v1"), "");
    let root = bench.root();
    let arguments = |file: &str| agent(&["run", "--once", "--pin-root", root.to_str().unwrap(), file]);
    let (output, out, err) = arguments(file.to_str().unwrap());
    assert!(output.status.success(), "{out}{err}");
    assert!(
        out.contains("p: Running, 1 of 1 hooks") && out.contains("sched/sched_process_exec"),
        "{out}"
    );
    bench.assert_nothing_pinned();
    let bad = bench.program("q", &object("rejected"), "");
    let (output, out, err) = arguments(bad.to_str().unwrap());
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("q: VerifierRejected"), "{out}");
    bench.assert_nothing_pinned();
}

#[test]
fn a_pin_root_serves_one_agent_at_a_time() {
    let bench = Bench::new();
    let file = bench.program("p", &object("counter_v1"), "");
    let first = bench.run(&file);
    first.healthy("p");
    let made = Made::below(&bench.root());
    let second = bench.run(&file);
    assert_eq!(second.wait().code(), Some(1));
    let said = second.output();
    assert!(
        said.contains("another bpfleet-agent uses") && said.contains("--pin-root"),
        "{said}"
    );
    assert_eq!(Made::below(&bench.root()), made);
    first.interrupt();
    bench.assert_nothing_pinned();
}

#[test]
fn a_pin_root_must_be_on_a_bpf_file_system() {
    let bench = Bench::new();
    let file = bench.program("p", &object("counter_v1"), "");
    let elsewhere = bench.path().join("elsewhere");
    let (output, _, err) = agent(&[
        "run",
        "--pin-root",
        elsewhere.to_str().unwrap(),
        file.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err.contains("is not on a BPF file system") && err.contains("mount -t bpf"),
        "{err}"
    );
    assert!(!elsewhere.exists());
}

/// In a mount namespace of its own, where nothing is mounted at the usual place.
#[test]
fn the_bpf_file_system_is_mounted_for_the_default_pin_root_and_unmounted_again() {
    let bench = Bench::new();
    let file = bench.program("p", &object("counter_v1"), "");
    let script = "umount -l /sys/fs/bpf 2>/dev/null
        \"$1\" run --once -o json \"$2\" & wait $!; status=$?
        grep -q ' /sys/fs/bpf ' /proc/self/mountinfo && { echo still mounted; exit 9; }
        exit $status";
    let output = Command::new("unshare")
        .args([
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_bpfleet-agent"),
        ])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("\"hooksAttached\":1"), "{said}");
}

#[test]
fn names_that_are_no_file_names_are_escaped() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("odd.name", &object("odd_names"), ""));
    running.healthy("odd.name");
    let maps = bench.root().join("odd~2ename/maps");
    let names: Vec<_> = kernel::files(&maps)
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["counts", "~2ebss", "~2edata~2eper_exec", "~2erodata~2econfig"]
    );
    running.interrupt();
    bench.assert_nothing_pinned();
}

#[test]
fn an_object_of_twenty_programs_runs_whole() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("p", &object("many"), ""));
    let row = running.healthy("p");
    assert_eq!(row["program"]["hooksAttached"], 20);
    let made = Made::below(&bench.root());
    assert_eq!((made.programs.len(), made.links.len()), (20, 20));
    eventually("most counters to move", || {
        events::exec();
        let counts = bench.counts("p");
        let moved = counts.iter().filter(|count| **count > 0).count();
        if moved >= 10 {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    running.interrupt();
    bench.assert_nothing_pinned();
    made.assert_gone();
}

/// As on kernels before 5.15.
#[test]
fn without_perf_links_hooks_run_and_end_with_the_agent_which_says_so() {
    for (name, hooks) in [
        ("tracepoint_exec", String::new()),
        (
            "perf_event",
            hooks(
                &["on_sample"],
                "{perfEvent: {event: CpuClock, sampleFrequency: 199}}",
            ),
        ),
    ] {
        let bench = Bench::new();
        let file = bench.program("p", &object(name), &hooks);
        let launch = || bench.launch(&[&file]).arg("--without-perf-links");
        let counts = |from: u64| {
            eventually("the counter to move", || {
                events::exec();
                events::work();
                let count = bench.counts("p")[0];
                if count > from {
                    Ok(())
                } else {
                    Err(count.to_string())
                }
            });
        };
        let first = bench.start(&launch());
        let row = first.healthy("p");
        assert_eq!(row["program"]["hooksEndingWithAgent"], 1, "{row}");
        counts(0);
        let made = Made::below(&bench.root());
        assert!(made.links.is_empty(), "{made:?}");
        first.kill();
        let before = bench.counts("p")[0];
        for _ in 0..5 {
            events::exec();
            events::work();
        }
        assert_eq!(bench.counts("p")[0], before, "it goes on without the agent");

        let second = bench.start(&launch());
        let row = second.until("p", "is attached again", |row| {
            row["reason"].is_null() && row["hooksAttached"] == 1
        });
        assert_eq!(row["program"]["hooksEndingWithAgent"], 1, "{row}");
        // With the program and the maps that it had.
        counts(before);
        assert_eq!(Made::below(&bench.root()), made);
        second.interrupt();
        bench.assert_nothing_pinned();
        made.assert_gone();
    }
}

#[test]
fn without_perf_links_uprobes_count_entries_and_returns_and_end_with_the_agent() {
    let bench = Bench::new();
    let target = format!("{{binary: {{path: {}, symbol: getppid}}}}", events::libc());
    let file = bench.program(
        "p",
        &object("uprobe"),
        &hooks(&["on_enter", "on_return"], &target),
    );
    let running = bench.start(&bench.launch(&[&file]).arg("--without-perf-links"));
    let row = running.healthy("p");
    assert_eq!(row["program"]["hooksEndingWithAgent"], 2, "{row}");
    eventually("entries and returns to be counted", || {
        nix::unistd::getppid();
        let counts = bench.counts("p");
        if counts[0] > 0 && counts[1] > 0 {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    running.kill();
    let before = bench.counts("p");
    nix::unistd::getppid();
    assert_eq!(bench.counts("p"), before, "it goes on without the agent");
    let second = bench.start(&bench.launch(&[&file]).arg("--without-perf-links"));
    second.until("p", "is attached again", |row| {
        row["reason"].is_null() && row["hooksAttached"] == 2
    });
    second.interrupt();
    bench.assert_nothing_pinned();
}

#[test]
fn without_perf_links_a_missing_symbol_is_told() {
    let bench = Bench::new();
    let target = "{binary: {path: /proc/self/exe, symbol: no_such_function}}";
    let file = bench.program("p", &object("uprobe"), &hooks(&["on_enter"], target));
    let running = bench.start(&bench.launch(&[&file]).arg("--without-perf-links"));
    let row = running.ends_with("p", "TargetNotFound");
    assert!(
        row["message"].as_str().unwrap().contains("no_such_function"),
        "{row}"
    );
    bench.assert_nothing_pinned();
}

/// As in a container, where the host's root is mounted elsewhere.
#[test]
fn binaries_are_found_below_the_hosts_root() {
    let bench = Bench::new();
    let root = bench.path().join("host");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(events::libc(), root.join("lib.so")).unwrap();
    let file = bench.program(
        "p",
        &object("uprobe"),
        &hooks(&["on_enter"], "{binary: {path: /lib.so, symbol: getppid}}"),
    );
    let running = bench.start(&bench.launch(&[&file]).arg("--host-root").arg(&root));
    running.healthy("p");
    eventually("calls to be counted", || {
        nix::unistd::getppid();
        if bench.counts("p")[0] > 0 {
            Ok(())
        } else {
            Err(running.output())
        }
    });
    running.interrupt();
    let without = bench.run(&file);
    let row = without.ends_with("p", "TargetNotFound");
    assert!(row["message"].as_str().unwrap().contains("/lib.so"), "{row}");
}

#[test]
fn cgroups_are_found_below_the_root_that_is_given() {
    netns::inside(|| {
        let (bench, cgroup) = (Bench::new(), Cgroup::new());
        // Without a target: the whole hierarchy, which is the test's own here.
        let file = bench.program("p", &object("cgroup_skb"), "");
        let running = bench.start(&bench.launch(&[&file]).arg("--cgroup-root").arg(cgroup.path()));
        running.healthy("p");
        events::loopback_packet();
        assert_eq!(bench.counts("p"), [0, 0], "it sees packets of other cgroups");
        eventually("packets of the cgroup to be counted", || {
            events::in_cgroup(cgroup.path());
            if bench.counts("p")[0] > 0 {
                Ok(())
            } else {
                Err(running.output())
            }
        });
        running.interrupt();
        bench.assert_nothing_pinned();
    });
}
