//! Hooks that are lost while they run: the status says so, and why, within ten seconds; they are attached again within
//! ten of their target's return, with the maps that they had, and the program's other hooks go on meanwhile.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bpfleet_e2e::wait;
use rstest::rstest;
use serde_json::Value;

use crate::support::{
    bench::{Bench, object},
    cgroup::Cgroup,
    events,
    kernel::{Made, files},
    netns,
    process::{self, Answering},
    running::{Running, eventually},
};

/// What the issue promises.
const PROMPTLY: Duration = Duration::from_secs(10);

/// Hooks `lost` and `kept` (YAML flow style) of these programs at these targets.
fn two(lost: (&str, &str), kept: (&str, &str)) -> String {
    let hook = |name: &str, (program, target): (&str, &str)| {
        format!("{{name: {name}, anyOf: [{{program: {program}, target: {{{target}}}}}]}}")
    };
    format!("[{}, {}]", hook("lost", lost), hook("kept", kept))
}

/// A program with a hook that gets lost and one that stays.
struct Watched<'a> {
    bench: &'a Bench,
    running: Running,
    /// What makes the hook that gets lost count, in this slot.
    event: &'a dyn Fn(),
    slot: usize,
    /// Rows that were there before.
    rows: usize,
    kept: BTreeSet<PathBuf>,
    maps: BTreeSet<u32>,
    before: u64,
}

impl<'a> Watched<'a> {
    fn start(bench: &'a Bench, name: &str, hooks: &str, slot: usize, event: &'a dyn Fn()) -> Self {
        let running = bench.run(&bench.program("p", &object(name), hooks));
        running.healthy("p");
        let made = Made::below(&bench.root());
        let mut watched = Self {
            bench,
            rows: running.rows("p").len(),
            running,
            event,
            slot,
            kept: kept(bench),
            maps: made.maps,
            before: 0,
        };
        watched.before = watched.counts();
        watched
    }

    /// Waits until the event is counted, and tells how often.
    fn counts(&self) -> u64 {
        let seen = || self.bench.counts("p").get(self.slot).copied().unwrap_or_default();
        let before = seen();
        eventually("the event to be counted", || {
            (self.event)();
            match seen() {
                now if now > before => Ok(now),
                _ => Err(format!("{:?}\n{}", self.bench.counts("p"), self.running.output())),
            }
        })
    }

    /// Rows since the beginning, or since it came back.
    fn rows(&self) -> Vec<Value> {
        self.running.rows("p").split_off(self.rows)
    }

    /// The status has said within ten seconds that the hook is lost, with these words.
    fn says_lost(&self, why: &str) {
        let seen = wait::until("the status to say that the hook is lost", PROMPTLY, || {
            let rows = self.rows();
            let said = |row: &Value| {
                let hook = &row["failedHooks"][0];
                row["reason"] == "Detached"
                    && row["hooksAttached"] == 1
                    && row["hooksWanted"] == 2
                    && hook["name"] == "lost"
                    && hook["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(why))
            };
            if rows.iter().any(said) {
                Ok(())
            } else {
                Err(format!("{rows:?}"))
            }
        });
        seen.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Without its target it fails, and says so; the other hook stays as it is.
    fn waits_for_its_target(&self) {
        let row = self.running.failed("p", "TargetNotFound");
        assert_eq!(
            (&row["hooksAttached"], &row["hooksWanted"]),
            (&1.into(), &2.into()),
            "{row}"
        );
        assert_eq!(kept(self.bench), self.kept);
    }

    /// It is attached again within ten seconds, and nothing else changed.
    fn is_back(&mut self) {
        let seen = wait::until("the hook to be attached again", PROMPTLY, || {
            match self.rows().last() {
                Some(row) if row["reason"].is_null() && row["hooksAttached"] == 2 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        seen.unwrap_or_else(|error| panic!("{error}\n{}", self.running.output()));
        let made = Made::below(&self.bench.root());
        assert_eq!(made.maps, self.maps, "its maps are others");
        assert_eq!(kept(self.bench), self.kept, "the other hook was attached anew");
        let now = self.counts();
        assert!(now > self.before, "{now} after {}", self.before);
        self.before = now;
        self.rows = self.running.rows("p").len();
    }

    fn end(self) {
        let made = Made::below(&self.bench.root());
        self.running.interrupt();
        self.bench.assert_nothing_pinned();
        made.assert_gone();
    }
}

/// What the hook that stays is attached by.
fn kept(bench: &Bench) -> BTreeSet<PathBuf> {
    let with_id = |path: PathBuf| match bpfleet_agent::pins::link(&path) {
        Ok(link) => path.join(link.id.to_string()),
        Err(_) => path,
    };
    hook_files(bench, "kept").into_iter().map(with_id).collect()
}

fn hook_files(bench: &Bench, hook: &str) -> Vec<PathBuf> {
    let of_hook = |path: &PathBuf| {
        path.parent()
            .is_some_and(|parent| parent.ends_with(format!("hooks/{hook}")))
    };
    files(&bench.root().join("p/revisions"))
        .into_iter()
        .filter(of_hook)
        .collect()
}

const XDP: (&str, &str, &str) = ("xdp", "pass", ", xdpMode: Generic");
const TCX: (&str, &str, &str) = ("tcx", "count_ingress", "");
const TC: (&str, &str, &str) = ("tc", "classify", ", direction: Ingress");

/// On the interface `right` of a cable, and on loopback, where nothing happens.
fn on_interfaces((name, program, more): (&str, &str, &str), test: impl FnOnce(Watched<'_>) + Send) {
    let name = name.to_owned();
    let at = |interface: &str| format!("interface: {{name: {interface}{more}}}");
    let hooks = two((program, &at("right")), (program, &at("lo")));
    netns::inside(|| {
        netns::cable();
        let bench = Bench::new();
        test(Watched::start(&bench, &name, &hooks, 0, &events::cable_packet));
    });
}

#[rstest]
#[case::xdp(XDP)]
#[case::tcx(TCX)]
#[case::clsact(TC)]
fn an_interface_that_is_deleted_and_made_again(#[case] kind: (&str, &str, &str)) {
    on_interfaces(kind, |mut watched| {
        netns::run("ip link del right");
        watched.says_lost("gone");
        watched.waits_for_its_target();
        netns::cable();
        watched.is_back();
        // Between two looks.
        netns::run("ip link del right");
        netns::cable();
        watched.says_lost("gone");
        watched.is_back();
        watched.end();
    });
}

#[rstest]
#[case::xdp(XDP)]
#[case::tcx(TCX)]
fn a_link_that_somebody_detached(#[case] kind: (&str, &str, &str)) {
    on_interfaces(kind, |mut watched| {
        let pin = if kind.0 == "xdp" {
            let held = files(&watched.bench.root().join("p/held"));
            let on_loopback = |path: &&PathBuf| !path.ends_with("xdp-1-2");
            held.iter().find(on_loopback).unwrap().clone()
        } else {
            hook_link(watched.bench)
        };
        detach(&pin);
        watched.says_lost("somebody detached it");
        watched.is_back();
        watched.end();
    });
}

fn hook_link(bench: &Bench) -> PathBuf {
    let links = hook_files(bench, "lost");
    links.into_iter().find(|path| path.ends_with("link-0")).unwrap()
}

fn detach(pin: &Path) {
    let id = bpfleet_agent::pins::link(pin).unwrap().id;
    netns::run(&format!("bpftool link detach id {id}"));
}

#[rstest]
#[case::the_filter("tc filter del dev right ingress", "its filter was deleted")]
#[case::the_qdisc("tc qdisc del dev right clsact", "its filter was deleted")]
fn a_filter_that_somebody_deleted(#[case] command: &str, #[case] why: &str) {
    on_interfaces(TC, |mut watched| {
        netns::run(command);
        watched.says_lost(why);
        watched.is_back();
        let filters = netns::run("tc filter show dev right ingress");
        assert_eq!(filters.matches(" handle ").count(), 1, "{filters}");
        watched.end();
    });
}

#[rstest]
#[case::removed_and_made_again(true)]
#[case::its_link_detached_by_somebody(false)]
fn on_a_cgroup(#[case] removed: bool) {
    netns::inside(|| {
        let (bench, lost, kept) = (Bench::new(), Cgroup::new(), Cgroup::new());
        let at = |cgroup: &Cgroup| format!("cgroup: {{path: {}}}", cgroup.target());
        let hooks = two(("skb_ingress", &at(&lost)), ("skb_egress", &at(&kept)));
        let event = || events::in_cgroup(lost.path());
        let mut watched = Watched::start(&bench, "cgroup_skb", &hooks, 0, &event);
        if removed {
            eventually("the cgroup to be empty", || {
                fs::remove_dir(lost.path()).map_err(|error| error.to_string())
            });
            watched.says_lost("gone");
            watched.waits_for_its_target();
            fs::create_dir(lost.path()).unwrap();
        } else {
            detach(&hook_link(&bench));
            watched.says_lost("somebody detached it");
        }
        watched.is_back();
        watched.end();
    });
}

#[rstest]
#[case::uprobe("uprobe", "on_enter", "on_return")]
#[case::uprobe_multi("own_load", "many", "many_returns")]
fn a_binary_that_is_replaced_by_a_rename_or_removed_and_put_back(
    #[case] name: &str,
    #[case] lost: &str,
    #[case] kept: &str,
) {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let binary = process::compile("calls", &[], dir.path());
    let of = |path: &Path| format!("binary: {{path: {}, symbol: first}}", path.display());
    let other = dir.path().join("other");
    fs::copy(&binary, &other).unwrap();
    let hooks = two((lost, &of(&binary)), (kept, &of(&other)));
    let event = || drop(Answering::start(&binary).ask());
    let mut watched = Watched::start(&bench, name, &hooks, 0, &event);

    let upgrade = tempfile::tempdir_in(dir.path()).unwrap();
    let new = process::compile("calls", &["-DVERSION=2"], upgrade.path());
    fs::rename(new, &binary).unwrap();
    watched.says_lost("was replaced");
    watched.is_back();

    let aside = upgrade.path().join("aside");
    fs::rename(&binary, &aside).unwrap();
    watched.says_lost("is gone");
    watched.waits_for_its_target();
    fs::copy(&aside, &binary).unwrap();
    watched.is_back();
    watched.end();
}

/// Its program finds probes in a map that is written as it is loaded, so that the program is loaded anew.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_binary_with_probes_that_is_replaced() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let binary = process::compile("probes", &[], dir.path());
    let hooks = format!(
        "[{{name: lost, anyOf: [{{program: on_probe, target: {{usdt: {{path: {}, provider: bpfleet, name: memory}}}}}}]}}]",
        binary.display()
    );
    let running = bench.run(&bench.program("p", &object("usdt"), &hooks));
    running.healthy("p");
    let upgrade = tempfile::tempdir_in(dir.path()).unwrap();
    let new = process::compile("probes", &["-DVERSION=2"], upgrade.path());
    fs::rename(new, &binary).unwrap();
    let seen = wait::until("the status to say so", PROMPTLY, || {
        let rows = running.rows("p");
        let lost = rows.iter().position(|row| {
            row["failedHooks"][0]["message"]
                .as_str()
                .is_some_and(|why| why.contains("was replaced"))
        });
        match (lost, rows.last()) {
            (Some(_), Some(row)) if row["reason"].is_null() => Ok(()),
            _ => Err(format!("{rows:?}")),
        }
    });
    seen.unwrap_or_else(|error| panic!("{error}"));
    eventually("the new binary to be followed", || {
        Answering::start(&binary).ask();
        let counts = bench.counts("p");
        if counts[0] > 0 {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    });
    running.interrupt();
    bench.assert_nothing_pinned();
}

/// How somebody takes a hook's pins away.
#[derive(Clone, Copy, Debug)]
enum Taken {
    Link,
    LastLink,
    Directory,
}

#[rstest]
#[case::of_a_tracepoint("counter_v1", "counter", "", Taken::Link, &events::exec)]
#[case::of_a_raw_tracepoint("raw_tp", "on_sys_enter", "", Taken::Link, &events::exec)]
#[case::of_a_typed_tracepoint("tp_btf", "", "", Taken::Link, &events::exec)]
#[case::of_one_cpu("perf_event", "on_sample", "perfEvent: {event: CpuClock, sampleFrequency: 199}", Taken::LastLink, &events::work)]
#[case::of_the_whole_hook("raw_tp", "on_sys_enter", "", Taken::Directory, &events::exec)]
fn pins_that_somebody_removed(
    #[case] name: &str,
    #[case] program: &str,
    #[case] target: &str,
    #[case] taken: Taken,
    #[case] event: &dyn Fn(),
) {
    let bench = Bench::new();
    let hooks = match (program, target) {
        ("", _) => String::new(),
        (program, "") => format!("[{{name: lost, anyOf: [{{program: {program}}}]}}]"),
        (program, target) => {
            format!("[{{name: lost, anyOf: [{{program: {program}, target: {{{target}}}}}]}}]")
        }
    };
    let running = bench.run(&bench.program("p", &object(name), &hooks));
    running.healthy("p");
    let made = Made::below(&bench.root());
    let links: Vec<PathBuf> = files(&bench.root().join("p/revisions"))
        .into_iter()
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("link-"))
        .collect();
    match taken {
        Taken::Link => fs::remove_file(&links[0]).unwrap(),
        Taken::LastLink => fs::remove_file(links.last().unwrap()).unwrap(),
        Taken::Directory => {
            let hook = links[0].parent().unwrap();
            for file in fs::read_dir(hook).unwrap() {
                fs::remove_file(file.unwrap().path()).unwrap();
            }
            fs::remove_dir(hook).unwrap();
        }
    }
    let seen = wait::until("the status to say so and the hook to be back", PROMPTLY, || {
        let rows = running.rows("p");
        let said = rows
            .iter()
            .any(|row| row["reason"] == "Detached" && row["hooksAttached"] == 0);
        match rows.last() {
            Some(row) if said && row["reason"].is_null() && row["hooksAttached"] == 1 => Ok(()),
            _ => Err(format!("{rows:?}")),
        }
    });
    seen.unwrap_or_else(|error| panic!("{error}\n{}", running.output()));
    let again = Made::below(&bench.root());
    assert_eq!(again.links.len(), made.links.len());
    if !matches!(taken, Taken::Directory) {
        assert_eq!(again.maps, made.maps, "its maps are others");
    }
    let before = bench.counts("p");
    eventually("it to count again", || {
        event();
        let now = bench.counts("p");
        if now > before {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    running.interrupt();
    bench.assert_nothing_pinned();
    made.assert_gone();
    again.assert_gone();
}

#[test]
fn an_iterator_whose_pin_somebody_removed_is_found_again_under_its_public_path() {
    let bench = Bench::new();
    let running = bench.run(&bench.program("p", &object("iter_task"), ""));
    running.healthy("p");
    let public = bench.root().join("p/iters/list_tasks");
    let link = || bpfleet_agent::pins::link(&public).map(|link| link.id);
    let before = link().unwrap();
    let pins = files(&bench.root().join("p/revisions"));
    fs::remove_file(pins.iter().find(|path| path.ends_with("link-0")).unwrap()).unwrap();
    eventually("the public path to lead to the new link", || match link() {
        Ok(now) if now != before => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(
        fs::read_to_string(&public)
            .unwrap()
            .contains(&std::process::id().to_string())
    );
    running.interrupt();
    bench.assert_nothing_pinned();
}
