//! A changed file: the next agent replaces what the one before left attached, without a gap, or leaves it be.

use std::{collections::BTreeSet, fs};

use crate::support::{
    bench::{Bench, hooks, object},
    cgroup::Cgroup,
    events,
    kernel::{Made, links_of},
    running::eventually,
};

fn counts_until(bench: &Bench, what: &str, wanted: impl Fn(u64) -> bool) {
    eventually(what, || {
        events::exec();
        let counts = bench.counts("p");
        if counts.first().copied().is_some_and(&wanted) {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
}

#[test]
fn a_changed_object_takes_the_place_of_the_old_one() {
    let bench = Bench::new();
    let first = bench.run(&bench.program("p", &object("counter_v1"), ""));
    let old = first.healthy("p")["program"]["revision"].take();
    counts_until(&bench, "the first version to count in ones", |n| {
        n > 0 && n < 1000
    });
    let made = Made::below(&bench.root());
    first.kill();

    let second = bench.run(&bench.program("p", &object("counter_v2"), ""));
    let new = second.until("p", "the new revision", |row| {
        row["reason"].is_null() && row["revision"] != old
    });
    assert!(new["loaded"].is_object(), "{new}");
    counts_until(&bench, "the second version to count in thousands", |n| {
        n > 0 && n % 1000 == 0
    });
    let remade = Made::below(&bench.root());
    assert!(remade.programs.is_disjoint(&made.programs) && remade.links.is_disjoint(&made.links));
    made.assert_gone();
    second.interrupt();
    bench.assert_nothing_pinned();
    remade.assert_gone();
}

#[test]
fn a_changed_object_that_fails_leaves_the_old_one_attached() {
    let bench = Bench::new();
    let first = bench.run(&bench.program("p", &object("counter_v1"), ""));
    let old = first.healthy("p")["program"]["revision"].take();
    let made = Made::below(&bench.root());
    first.kill();

    let second = bench.run(&bench.program("p", &object("rejected"), ""));
    let row = second.failed("p", "VerifierRejected");
    assert_eq!(
        (&row["revision"], &row["hooksAttached"]),
        (&old, &1.into()),
        "{row}"
    );
    assert!(
        row["failingRevision"].is_string() && row["failingRevision"] != old,
        "{row}"
    );
    let before = bench.counts("p").remove(0);
    counts_until(&bench, "the old version to go on", |n| n > before);
    assert_eq!(Made::below(&bench.root()), made);
    second.interrupt_after_failure();
    bench.assert_nothing_pinned();
    made.assert_gone();
}

#[test]
fn a_program_that_stands_in_no_file_any_more_is_removed() {
    let bench = Bench::new();
    let (a, b) = (
        bench.program("a", &object("counter_v1"), ""),
        bench.program("b", &object("raw_tp"), ""),
    );
    let first = bench.start(&bench.launch(&[&a, &b]));
    first.healthy("a");
    first.healthy("b");
    let made = Made::below(&bench.root().join("b"));
    first.kill();
    let second = bench.run(&a);
    let row = second.healthy("a");
    assert!(row["loaded"].is_null(), "{row}");
    made.assert_gone();
    eventually("the directory of b to go", || {
        match fs::read_dir(bench.root().join("b")) {
            Err(_) => Ok(()),
            Ok(_) => Err("it is there".to_owned()),
        }
    });
    second.interrupt();
    bench.assert_nothing_pinned();
}

#[test]
fn a_hook_that_somebody_detached_is_attached_again() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("p", &object("counter_v1"), ""));
    let revision = running.healthy("p")["program"]["revision"].take();
    let made = Made::below(&bench.root());
    let hook = bench
        .root()
        .join("p/revisions")
        .join(revision.as_str().unwrap())
        .join("hooks/counter");
    fs::remove_file(hook.join("link-0")).unwrap();
    eventually("the status to say so", || {
        let rows = running.rows("p");
        let said = |row: &serde_json::Value| row["reason"] == "Detached" && row["hooksAttached"] == 0;
        if rows.iter().any(said) {
            Ok(())
        } else {
            Err(running.output())
        }
    });
    running.healthy("p");
    let remade = Made::below(&bench.root());
    assert!(
        remade.links.is_disjoint(&made.links) && remade.links.len() == 1,
        "{remade:?}"
    );
    let all: BTreeSet<u32> = made.programs.union(&remade.programs).copied().collect();
    assert_eq!(links_of(&all).values().sum::<u32>(), 1, "it is attached once");
    counts_until(&bench, "it to count again", |n| n > 0);
    running.interrupt();
    bench.assert_nothing_pinned();
    made.assert_gone();
    remade.assert_gone();
}

#[test]
fn a_cgroup_that_goes_away_takes_its_hooks_with_it_and_the_status_says_so() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    let target = format!("{{cgroup: {{path: {}}}}}", cgroup.target());
    let running = bench.run(&bench.program("p", &object("cgroup_dev"), &hooks(&["on_device"], &target)));
    running.healthy("p");
    let name = cgroup.target();
    drop(cgroup);
    let row = running.failed("p", "TargetNotFound");
    assert_eq!(row["hooksAttached"], 0, "{row}");
    assert!(row["message"].as_str().unwrap().contains(&name), "{row}");
    running.interrupt_after_failure();
    bench.assert_nothing_pinned();
}
