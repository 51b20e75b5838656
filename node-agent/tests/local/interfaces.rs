//! Hooks on interfaces through changes: replaced in place, moved, refused where somebody else is, gone with their
//! interface.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use aya::maps::{Array, Map, MapData};
use rstest::rstest;

use crate::support::{
    bench::{Bench, hooks, object, object_with},
    events,
    kernel::{Made, files},
    netns,
    resolved::Resolved,
    running::eventually,
};

/// Every packet is seen by exactly one version, also while one takes the other's place.
#[test]
fn an_xdp_program_is_replaced_in_its_link_without_losing_a_packet() {
    netns::inside(|| {
        // Nothing but this test sends on the cable.
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        netns::cable();
        let bench = Bench::new();
        let hooks = hooks(&["pass"], "{interface: {name: right}}");
        let first = bench.run(&bench.program("p", &object("xdp"), &hooks));
        let old = first.healthy("p")["program"]["revision"].take();
        let made = Made::below(&bench.root());
        let held = fs::read_dir(bench.root().join("p/held"))
            .unwrap()
            .flatten()
            .next()
            .unwrap()
            .path();
        let link = bpfleet_agent::pins::link(&held).unwrap();
        let count = |map| {
            Array::<_, u64>::try_from(Map::Array(map))
                .unwrap()
                .get(&0, 0)
                .unwrap()
        };
        let open = || MapData::from_pin(bench.map("p", "counts")).unwrap();
        let old_map = open();
        first.kill();
        assert_eq!(count(open()), 0, "somebody else sends on the cable");

        let done = AtomicBool::new(false);
        let (second, sent) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0;
                while !done.load(Ordering::Relaxed) {
                    events::cable_packet();
                    sent += 1;
                }
                sent
            });
            let file = bench.program("p", &object_with("xdp", &["-DSLOTS=2"]), &hooks);
            let second = bench.run(&file);
            second.until("p", "the new revision", |row| {
                row["reason"].is_null() && row["revision"] != old
            });
            eventually("the new version to count", || match count(open()) {
                n if n > 10 => Ok(()),
                n => Err(n.to_string()),
            });
            done.store(true, Ordering::Relaxed);
            (second, sender.join().unwrap())
        });
        let now = bpfleet_agent::pins::link(&held).unwrap();
        assert_eq!(now.id, link.id, "the link is another");
        assert_ne!(now.program_id, link.program_id);
        let mut seen = (0, 0);
        eventually("every packet to be counted once", || {
            seen = (
                count(MapData::from_id(old_map.info().unwrap().id()).unwrap()),
                count(open()),
            );
            if seen.0 + seen.1 == sent {
                Ok(())
            } else {
                Err(format!("{seen:?} of {sent}"))
            }
        });
        assert!(
            seen.0 > 0,
            "nothing was sent while the first version ran: {seen:?}"
        );
        drop(old_map);
        second.interrupt();
        bench.assert_nothing_pinned();
        made.assert_gone();
    });
}

#[test]
fn an_agent_killed_while_it_replaces_an_xdp_program_never_leaves_the_interface_without() {
    netns::inside(|| {
        netns::cable();
        let bench = Bench::new();
        let hooks = hooks(&["pass"], "{interface: {name: right}}");
        let objects = [object("xdp"), object_with("xdp", &["-DSLOTS=2"])];
        let first = bench.run(&bench.program("p", &objects[0], &hooks));
        first.healthy("p");
        first.kill();
        let held = fs::read_dir(bench.root().join("p/held"))
            .unwrap()
            .flatten()
            .next()
            .unwrap()
            .path();
        let link = bpfleet_agent::pins::link(&held).unwrap();
        for step in 0..10 {
            let running = bench.run(&bench.program("p", &objects[step % 2], &hooks));
            // Program, map, the hook's program and the record of its link: killed between any two of them.
            while files(&bench.root().join("p/loading")).len() < step / 2
                && running.healthy_now("p").is_none()
            {
                std::thread::yield_now();
            }
            running.kill();
            let now = bpfleet_agent::pins::link(&held).unwrap();
            assert!(
                now.attached && now.id == link.id,
                "step {step}: {now:?} instead of {link:?}"
            );
        }
        let last = bench.run(&bench.program("p", &objects[1], &hooks));
        last.healthy("p");
        eventually("the last version to run and nothing else to be pinned", || {
            let made = Made::below(&bench.root());
            let slots = bench.counts("p").len();
            if made.programs.len() == 1 && slots == 2 {
                Ok(())
            } else {
                Err(format!("{slots} slots, {made:?}"))
            }
        });
        assert_eq!(bpfleet_agent::pins::link(&held).unwrap().id, link.id);
        eventually("packets to be counted", || {
            events::cable_packet();
            if bench.counts("p")[0] > 0 {
                Ok(())
            } else {
                Err("none")
            }
            .map_err(str::to_owned)
        });
        let made = Made::below(&bench.root());
        last.interrupt();
        bench.assert_nothing_pinned();
        made.assert_gone();
    });
}

#[test]
fn the_mode_of_an_xdp_program_can_change_and_a_mode_that_fails_changes_nothing() {
    netns::inside(|| {
        netns::cable();
        let bench = Bench::new();
        let at = |interface: &str, mode: &str| {
            let target = format!("{{interface: {{name: {interface}, xdpMode: {mode}}}}}");
            bench.program("p", &object("xdp"), &hooks(&["pass"], &target))
        };
        let first = bench.run(&at("right", "Driver"));
        let driver = first.healthy("p")["program"]["revision"].take();
        let made = Made::below(&bench.root());
        assert!(netns::run("ip link show right").contains(" xdp "));
        first.kill();
        let second = bench.run(&at("right", "Generic"));
        second.until("p", "generic mode", |row| {
            row["reason"].is_null() && row["revision"] != driver
        });
        assert!(netns::run("ip link show right").contains(" xdpgeneric "));
        made.assert_gone();
        second.interrupt();
        bench.assert_nothing_pinned();

        // Loopback has no driver with XDP.
        let third = bench.run(&at("lo", "Generic"));
        let generic = third.healthy("p")["program"]["revision"].take();
        let made = Made::below(&bench.root());
        third.kill();
        let fourth = bench.run(&at("lo", "Driver"));
        let row = fourth.failed("p", "UnsupportedByKernel");
        assert!(
            row["message"].as_str().unwrap().contains("xdpMode: Generic"),
            "{row}"
        );
        assert_eq!(
            (&row["revision"], &row["hooksAttached"]),
            (&generic, &1.into()),
            "{row}"
        );
        assert!(netns::run("ip link show lo").contains(" xdpgeneric "));
        assert_eq!(Made::below(&bench.root()).programs, made.programs);
        fourth.interrupt_after_failure();
        bench.assert_nothing_pinned();
        made.assert_gone();
    });
}

#[rstest]
#[case::xdp("xdp", "pass", "")]
#[case::tc("tc", "classify", ", direction: Ingress")]
#[case::tcx("tcx", "count_ingress", "")]
fn a_hook_that_moves_to_another_interface_leaves_the_first(
    #[case] name: &str,
    #[case] program: &str,
    #[case] direction: &str,
) {
    netns::inside(|| {
        netns::cable();
        let bench = Bench::new();
        let on = |interface: &str| {
            let target = format!("{{interface: {{name: {interface}{direction}}}}}");
            bench.program("p", &object(name), &hooks(&[program], &target))
        };
        let first = bench.run(&on("left"));
        let old = first.healthy("p")["program"]["revision"].take();
        let made = Made::below(&bench.root());
        first.kill();
        let second = bench.run(&on("right"));
        second.until("p", "the new revision", |row| {
            row["reason"].is_null() && row["revision"] != old
        });
        made.assert_gone();
        assert!(!netns::run("tc filter show dev left ingress").contains("bpf"));
        eventually("packets to be counted on the other interface", || {
            events::cable_packet();
            if bench.counts("p")[0] > 0 {
                Ok(())
            } else {
                Err("none")
            }
            .map_err(str::to_owned)
        });
        second.interrupt();
        bench.assert_nothing_pinned();
    });
}

#[test]
fn an_interface_that_runs_another_xdp_program_is_busy_and_its_holder_is_named() {
    netns::inside(|| {
        let (bench, hooks) = (Bench::new(), hooks(&["pass"], "{interface: {name: lo}}"));
        let holder = bench.program("holder", &object("xdp"), &hooks);
        let other = bench.program("other", &object("xdp"), &hooks);
        let first = bench.run(&holder);
        first.healthy("holder");
        let made = Made::below(&bench.root());
        first.kill();
        let second = bench.start(&bench.launch(&[&holder, &other]));
        let row = second.failed("other", "TargetBusy");
        assert!(
            row["message"].as_str().unwrap().contains("BpfProgram holder"),
            "{row}"
        );
        second.healthy("holder");
        assert_eq!(Made::below(&bench.root()), made);
        second.interrupt_after_failure();
        bench.assert_nothing_pinned();

        let object = object("xdp");
        netns::run(&format!(
            "ip link set lo xdpgeneric obj {} sec xdp",
            object.display()
        ));
        let third = bench.run(&other);
        let row = third.ends_with("other", "TargetBusy");
        assert!(
            row["message"]
                .as_str()
                .unwrap()
                .contains("that bpfleet did not attach"),
            "{row}"
        );
        assert!(
            netns::run("ip link show lo").contains("xdp"),
            "the other's program is gone"
        );
        bench.assert_nothing_pinned();
    });
}

#[rstest]
#[case::xdp("xdp", "pass", "")]
#[case::tcx("tcx", "count_ingress", "")]
#[case::tc("tc", "classify", ", direction: Ingress")]
fn an_interface_that_goes_away_takes_its_hooks_with_it_and_the_status_says_so(
    #[case] name: &str,
    #[case] program: &str,
    #[case] direction: &str,
) {
    netns::inside(|| {
        netns::cable();
        let bench = Bench::new();
        let target = format!("{{interface: {{name: right{direction}}}}}");
        let file = bench.program("p", &object(name), &hooks(&[program], &target));
        let running = bench.run(&file);
        running.healthy("p");
        let made = Made::below(&bench.root());
        netns::run("ip link del right");
        let row = running.failed("p", "TargetNotFound");
        assert_eq!(row["hooksAttached"], 0, "{row}");
        assert!(
            row["message"]
                .as_str()
                .unwrap()
                .contains("no network interface right"),
            "{row}"
        );
        running.interrupt_after_failure();
        bench.assert_nothing_pinned();
        made.assert_gone();
    });
}

#[test]
fn a_filter_is_found_by_priority_and_handle_until_somebody_deletes_it() {
    use aya::programs::{
        SchedClassifier,
        tc::{NlOptions, TcAttachOptions, TcAttachType, TcHandle, qdisc_add_clsact},
    };
    use bpfleet_agent::{
        kernel::netlink::{Filter, filters},
        record::TcDirection,
    };

    netns::inside(|| {
        netns::cable();
        let number = fs::read_to_string("/proc/thread-self/net/dev_snmp6/left").unwrap();
        let number: u32 = number.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(filters(number, TcDirection::Ingress).unwrap(), []);
        qdisc_add_clsact("left").unwrap();
        let mut resolved = Resolved::new(&object("tc"), &["classify"]);
        let program = resolved.ebpf.program_mut("classify").unwrap();
        let program: &mut SchedClassifier = program.try_into().unwrap();
        program.load().unwrap();
        let id = program.info().unwrap().id();
        let mut attach = |handle| {
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: 50,
                handle: TcHandle::from(handle),
                classid: None,
            });
            program
                .attach_with_options("left", TcAttachType::Ingress, options)
                .unwrap();
        };
        attach(0x1234);
        attach(0x77);
        let filter = |handle| Filter {
            priority: 50,
            handle,
            program: Some(id),
        };
        let sorted = |direction| {
            let mut found = filters(number, direction).unwrap();
            found.sort_by_key(|filter| filter.handle);
            found
        };
        assert_eq!(sorted(TcDirection::Ingress), [filter(0x77), filter(0x1234)]);
        assert_eq!(sorted(TcDirection::Egress), []);
        // Filters of other kinds are passed over.
        netns::run("tc filter add dev left ingress prio 7 u32 match u32 0 0 flowid 1:1");
        netns::run("tc filter del dev left ingress prio 50 handle 0x77 bpf");
        assert_eq!(sorted(TcDirection::Ingress), [filter(0x1234)]);
        netns::run("tc qdisc del dev left clsact");
        assert_eq!(sorted(TcDirection::Ingress), []);
    });
}
