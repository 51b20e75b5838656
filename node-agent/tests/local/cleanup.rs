//! `bpfleet-agent cleanup`: a node whose agent is gone for good.

use std::{fs, process::Command};

use bpfleet_agent::cache::Cache;

use crate::support::{
    bench::{Bench, object},
    kernel::Made,
    running::eventually,
};

fn cleanup(bench: &Bench, further: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bpfleet-agent"))
        .arg("cleanup")
        .arg("--pin-root")
        .arg(bench.root())
        .arg("--cache-dir")
        .arg(bench.path().join("cache"))
        .args(further)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_dead_agents_programs_records_and_cache_go_and_a_living_ones_stay() {
    let bench = Bench::new();
    // One with a link, and one that is attached without and only recorded.
    let (linked, recorded) = (
        bench.program("linked", &object("tracepoint"), ""),
        bench.program("recorded", &object("sk_msg"), ""),
    );
    let cache = Cache::open(&bench.path().join("cache")).unwrap();
    cache.put_wanted(&1).unwrap();
    let agent = bench.start(&bench.launch(&[&linked, &recorded]));
    agent.healthy("linked");
    agent.healthy("recorded");
    let made = Made::below(&bench.root());
    assert!(!made.links.is_empty() && !made.records.is_empty(), "{made:?}");

    let (ok, said) = cleanup(&bench, &[]);
    assert!(!ok && said.contains("another bpfleet-agent uses"), "{said}");
    assert_eq!(Made::below(&bench.root()), made);

    agent.kill();
    let (ok, said) = cleanup(&bench, &["--dry-run"]);
    assert!(ok && said.contains("would remove program linked"), "{said}");
    assert_eq!(Made::below(&bench.root()), made);

    // The kernel ends a killed process some time after its signal.
    let said = eventually("the dead agent's lock to be free", || {
        match cleanup(&bench, &[]) {
            (true, said) => Ok(said),
            (false, said) => Err(said),
        }
    });
    for line in [
        "removed program linked",
        "removed program recorded",
        "nothing of bpfleet is left",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    made.assert_gone();
    assert!(!bench.root().exists() && !bench.path().join("cache").exists());

    let (ok, said) = cleanup(&bench, &[]);
    assert!(ok && said.starts_with("there is nothing of bpfleet"), "{said}");
}

#[test]
fn what_is_somebody_elses_stays_and_is_named() {
    let bench = Bench::new();
    // Not a name that bpfleet writes.
    let theirs = bench.root().join("Their~program");
    fs::create_dir_all(&theirs).unwrap();
    let (ok, said) = cleanup(&bench, &[]);
    assert!(!ok && said.contains("it holds what is not bpfleet's"), "{said}");
    assert!(theirs.exists());
}
