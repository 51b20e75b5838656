//! The loading process crashes, hangs, eats memory or is killed: that is one program's failure, and nothing
//! half-made stays.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use bpfleet_agent::load::{
    request::{NodePaths, Request},
    spawn::{Refused, Spawner},
};
use bpfleet_crds::{Digest, NodeReason};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rstest::rstest;

use crate::support::{
    bench::{Bench, object},
    kernel::{Made, files},
    running::{Running, eventually},
};

const FAULT: &str = "BPFLEET_LOADER_FAULT";

#[rstest]
#[case::panic("panic", "LoaderCrashed", "asked to panic")]
#[case::abort("abort", "LoaderCrashed", "signal 6")]
#[case::out_of_memory("oom", "LoaderKilled", "memory")]
fn a_loader_that_fails(#[case] fault: &str, #[case] reason: &str, #[case] words: &str) {
    let bench = Bench::new();
    let bad = bench.program("bad", &object("tracepoint"), "");
    let good = bench.program("good", &object("raw_tp"), "");
    let running = bench.start(&bench.launch(&[&bad, &good]).env(FAULT, format!("bad={fault}")));
    let row = running.failed("bad", reason);
    assert!(row["message"].as_str().unwrap().contains(words), "{row}");
    running.healthy("good");
    running.interrupt_after_failure();
    bench.assert_nothing_pinned();
}

/// The agent's children.
fn workers(agent: &Running) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid()))
        .into_iter()
        .flatten()
        .flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children
        .flat_map(|pids| {
            pids.split(' ')
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn worker(agent: &Running) -> Pid {
    eventually("a loading process", || match workers(agent).first() {
        Some(pid) => Ok(Pid::from_raw(*pid)),
        None => Err(agent.output()),
    })
}

#[test]
fn a_loader_that_is_killed() {
    let bench = Bench::new();
    let file = bench.program("p", &object("tracepoint"), "");
    let running = bench.start(&bench.launch(&[&file]).env(FAULT, "p=hang"));
    kill(worker(&running), Signal::SIGKILL).unwrap();
    let row = running.ends_with("p", "LoaderKilled");
    assert!(row["message"].as_str().unwrap().contains("was killed"), "{row}");
    bench.assert_nothing_pinned();
}

#[test]
fn a_loader_does_not_outlive_its_agent() {
    let bench = Bench::new();
    let file = bench.program("p", &object("tracepoint"), "");
    let running = bench.start(&bench.launch(&[&file]).env(FAULT, "p=hang"));
    let worker = worker(&running);
    running.kill();
    eventually("the loader to end", || {
        // It is somebody else's zombie for a moment.
        match fs::read_to_string(format!("/proc/{worker}/stat")) {
            Ok(stat) if !stat.contains(") Z") => Err(stat),
            _ => Ok(()),
        }
    });
    let second = bench.run(&file);
    second.healthy("p");
    second.interrupt();
    bench.assert_nothing_pinned();
}

#[test]
fn an_interrupt_does_not_wait_for_a_loader_that_hangs() {
    let bench = Bench::new();
    let file = bench.program("p", &object("tracepoint"), "");
    let running = bench.start(&bench.launch(&[&file]).env(FAULT, "p=hang"));
    worker(&running);
    let start = Instant::now();
    running.signal_interrupt();
    running.wait();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    bench.assert_nothing_pinned();
}

#[tokio::test]
async fn a_loader_that_takes_too_long() {
    let bench = Bench::new();
    let agent = env!("CARGO_BIN_EXE_bpfleet-agent");
    let script = bench.file("hang", format!("#!/bin/sh\n{FAULT}=p=hang exec {agent} \"$@\"\n"));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let object = object("tracepoint");
    let request = Request {
        program: "p".into(),
        revision: "p-1".into(),
        variant: "main".into(),
        passed_over: Vec::new(),
        hooks: None,
        maps: Vec::new(),
        digest: Digest::of(&fs::read(&object).unwrap()),
        object,
        node: node(&bench),
        lost: None,
    };
    fs::create_dir(bench.root()).unwrap();
    let load = |binary: PathBuf, timeout| Spawner {
        binary,
        timeout,
        cancel: None,
    };
    let failure = load(script, Duration::from_millis(300))
        .load(&request)
        .await
        .unwrap_err();
    let Refused::Failed(failure) = failure else {
        panic!("{failure:?}")
    };
    assert_eq!(failure.reason, NodeReason::LoaderTimedOut, "{failure}");
    bench.assert_nothing_pinned();

    let outcome = load(agent.into(), Duration::from_secs(60))
        .load(&request)
        .await
        .unwrap();
    assert_eq!(outcome.loaded.hooks.len(), 1);
    let mut changed = request.clone();
    changed.digest = Digest::of(b"something else");
    changed.revision = "p-2".into();
    let failure = load(agent.into(), Duration::from_secs(60))
        .load(&changed)
        .await
        .unwrap_err();
    let Refused::Failed(failure) = failure else {
        panic!("{failure:?}")
    };
    assert_eq!(failure.reason, NodeReason::DigestMismatch, "{failure}");
}

fn node(bench: &Bench) -> NodePaths {
    NodePaths {
        pin_root: bench.root(),
        kernel_btf: "/sys/kernel/btf/vmlinux".into(),
        cgroup_root: None,
        host_root: "/".into(),
        perf_links: true,
    }
}

/// Killed at many moments while it makes maps, loads, pins and attaches: all of it runs, or nothing is left.
#[test]
fn a_loader_or_agent_that_is_killed_at_any_moment_leaves_all_or_nothing() {
    let bench = Bench::new();
    let file = bench.program("p", &object("many"), "");
    let mut interrupted = 0;
    for step in 0..12_u32 {
        let running = bench.run(&file);
        // The moment is when so many files are pinned, which is neither too early nor too late to matter.
        let wanted = (step * 4) as usize;
        let mut loader = None;
        while running.last("p").is_none_or(|value| value["loaded"].is_null()) {
            loader = loader.or_else(|| workers(&running).first().copied());
            if loader.is_some() && files(&bench.root()).len() >= wanted {
                break;
            }
            std::thread::yield_now();
        }
        if step % 2 == 0 {
            // It may have ended by now.
            let _ = loader.map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
            let seen = running.until("p", "runs or was killed", |row| {
                row["reason"].is_null() || row["reason"] == "LoaderKilled"
            });
            if seen["program"]["reason"].is_null() {
                running.interrupt();
            } else {
                interrupted += 1;
                running.wait();
            }
            bench.assert_nothing_pinned();
        } else {
            running.kill();
            let made = Made::below(&bench.root());
            let next = bench.run(&file);
            next.healthy("p");
            // A revision that was complete is adopted first, and then what is left of the making removed.
            eventually("unfinished pins to go", || {
                match fs::read_dir(bench.root().join("p/loading")) {
                    Err(_) => Ok(()),
                    Ok(_) => Err(next.output()),
                }
            });
            assert_eq!(Made::below(&bench.root()).programs.len(), 20);
            next.interrupt();
            bench.assert_nothing_pinned();
            made.assert_gone();
        }
    }
    assert!(interrupted > 0, "no loader was killed before it had finished");
}
