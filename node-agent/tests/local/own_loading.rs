//! Programs of kinds that aya cannot load, loaded and attached by the agent's own calls.

use std::{os::fd::AsFd, path::Path};

use bpfleet_agent::kernel::{
    bpf::{self, LinkTarget},
    link::{self, UserPlaces, When},
    map,
    program::LoadError,
};
use rstest::rstest;

use crate::support::{
    bench, cgroup::Cgroup, events, process, process::Answering, resolved::Resolved, running::until_unseen,
};

fn object(programs: &[&str]) -> Resolved {
    Resolved::new(&bench::object("own_load"), programs)
}

#[rstest]
fn a_kind_that_aya_cannot_load_is_loaded(
    #[values(
        "many",
        "many_returns",
        "both_ends",
        "on_demand",
        "connect_unix",
        "verdict",
        "on_action",
        "on_lwt_in",
        "on_lwt_xmit",
        "migrate",
        "accept",
        "writable",
        "many_functions"
    )]
    program: &str,
) {
    let resolved = object(&[program]);
    resolved.load(program).unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn a_program_that_the_verifier_refuses_brings_its_words() {
    let resolved = object(&["refused"]);
    match resolved.load("refused") {
        Err(LoadError::Refused { program, error, log }) => {
            assert_eq!(program, "refused");
            assert_eq!(error.raw_os_error(), Some(libc::EACCES));
            assert!(log.contains("R7 !read_ok"), "{log}");
            // The lines of its source came along.
            assert!(log.contains("r0 = r7") && log.contains("own_load.bpf.c"), "{log}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_link_serves_many_places_of_a_binary_each_with_its_cookie() {
    let dir = tempfile::tempdir().unwrap();
    let binary = process::compile("calls", &[], dir.path());
    let offset = |symbol| process::offset(&binary, symbol);
    let resolved = object(&["many", "many_returns"]);
    let places = UserPlaces {
        path: &binary,
        offsets: &[offset("first"), offset("second")],
        counters: &[],
        cookies: &[1, 2],
        process: 0,
    };
    let entries = link::uprobe_multi(resolved.load("many").unwrap().as_fd(), &places, When::Entry).unwrap();
    let plain = UserPlaces {
        cookies: &[],
        ..places
    };
    let returns = resolved.load("many_returns").unwrap();
    let returns = link::uprobe_multi(returns.as_fd(), &plain, When::Return).unwrap();

    let mut process = Answering::start(&binary);
    process.ask();
    assert_eq!(resolved.counts(), [0, 1, 2, 0, 3, 0, 0, 0, 0]);
    drop(entries);
    until_unseen(|| drop(process.ask()), || resolved.counts()[..4].to_vec());
    let returned = resolved.counts()[4];
    process.ask();
    assert_eq!(resolved.counts()[4], returned + 3);
    drop(returns);
    until_unseen(|| drop(process.ask()), || resolved.counts());
}

#[test]
fn a_session_sees_both_ends_of_a_call() {
    let dir = tempfile::tempdir().unwrap();
    let binary = process::compile("calls", &[], dir.path());
    let resolved = object(&["both_ends"]);
    let places = UserPlaces {
        path: &binary,
        offsets: &[process::offset(&binary, "first")],
        counters: &[],
        cookies: &[],
        process: 0,
    };
    let program = resolved.load("both_ends").unwrap();
    let _link = link::uprobe_multi(program.as_fd(), &places, When::Session).unwrap();
    Answering::start(&binary).ask();
    assert_eq!(resolved.counts(), [0, 0, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn a_place_that_is_none_fails_the_whole_link() {
    let resolved = object(&["many"]);
    let places = UserPlaces {
        path: Path::new("/"),
        offsets: &[0],
        counters: &[],
        cookies: &[],
        process: 0,
    };
    let program = resolved.load("many").unwrap();
    let error = link::uprobe_multi(program.as_fd(), &places, When::Entry).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_program_for_unix_sockets_goes_to_a_cgroup_by_the_ordinary_link() {
    let cgroup = Cgroup::new();
    let directory = std::fs::File::open(cgroup.path()).unwrap();
    let resolved = object(&["connect_unix"]);
    let program = resolved.load("connect_unix").unwrap();
    // BPF_CGROUP_UNIX_CONNECT
    let link = bpf::link_create(program.as_fd(), LinkTarget::Fd(directory.as_fd()), 49, 0).unwrap();
    assert!(bpf::link_info(link.as_fd()).unwrap().attached);
    events::in_cgroup(cgroup.path());
    assert_eq!(resolved.counts()[7], 1);
}

#[rstest]
fn a_typed_tracepoint_is_attached_with_and_without_a_cookie(#[values(None, Some(7))] cookie: Option<u64>) {
    let resolved = Resolved::new(&bench::object("tp_btf"), &["on_switch_btf"]);
    let program = resolved.load("on_switch_btf").unwrap();
    let before = resolved.counts()[0];
    // BPF_TRACE_RAW_TP
    let _link = link::tracing(program.as_fd(), 23, cookie).unwrap();
    events::exec();
    assert!(resolved.counts()[0] > before);
}

#[test]
fn a_verdict_program_goes_to_a_sockmap() {
    const SOCKMAP: u32 = 15;
    const SK_SKB_VERDICT: u32 = 38;
    let create = map::MapCreate {
        map_type: SOCKMAP,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..map::MapCreate::default()
    };
    let sockmap = create.create().unwrap();
    let program = object(&["verdict"]).load("verdict").unwrap();
    bpf::prog_attach(program.as_fd(), sockmap.as_fd(), SK_SKB_VERDICT, 0).unwrap();
    bpf::prog_detach(program.as_fd(), sockmap.as_fd(), SK_SKB_VERDICT).unwrap();
}

#[test]
fn a_program_that_was_not_resolved_is_named() {
    let error = object(&["many"]).load("verdict").unwrap_err();
    assert!(matches!(error, LoadError::NoProgram(name) if name == "verdict"));
}
