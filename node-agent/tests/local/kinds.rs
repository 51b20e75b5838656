//! Every kind of program that this kernel runs: it counts real events, goes on when its agent is killed, is
//! adopted as it is by the next agent, and is gone without a trace after Ctrl-C.

use std::{cell::RefCell, fs, net::TcpStream, os::fd::AsRawFd, path::PathBuf};

use aya::maps::{HashMap, Map, MapData};
use rstest::rstest;

use crate::support::{
    bench::{Bench, hooks, object},
    cgroup::Cgroup,
    events,
    kernel::{Made, links_of},
    netns,
    running::{Running, eventually},
};

/// One program and what makes it count.
struct Case<'a> {
    bench: &'a Bench,
    object: &'a str,
    hooks: String,
    event: &'a dyn Fn(),
}

impl Case<'_> {
    /// Makes the event happen until every counter has moved.
    fn counts(&self, running: Option<&Running>) {
        let before = self.bench.counts("case");
        eventually("every counter to move", || {
            (self.event)();
            let now = self.bench.counts("case");
            let moved = now.iter().zip(&before).all(|(now, before)| now > before);
            let log = running.map(Running::output).unwrap_or_default();
            if moved {
                Ok(())
            } else {
                Err(format!("from {before:?} to {now:?}; the agent says\n{log}"))
            }
        });
    }

    fn check(&self) {
        let file = self.bench.program("case", &object(self.object), &self.hooks);
        let first = self.bench.run(&file);
        let row = first.healthy("case");
        assert!(row["loaded"]["hooks"].is_array(), "{row}");
        let made = Made::below(&self.bench.root());
        let links = links_of(&made.programs);
        assert!(!made.programs.is_empty() && !made.maps.is_empty(), "{made:?}");
        assert!(!made.links.is_empty() || !made.records.is_empty(), "{made:?}");
        self.counts(Some(&first));

        first.kill();
        self.counts(None);

        let second = self.bench.run(&file);
        let adopted = second.healthy("case");
        assert_eq!(adopted["loaded"], serde_json::Value::Null, "it was loaded again");
        assert_eq!(
            adopted["program"]["hooksAttached"],
            row["program"]["hooksAttached"]
        );
        assert_eq!(Made::below(&self.bench.root()), made);
        assert_eq!(links_of(&made.programs), links);
        self.counts(Some(&second));

        second.interrupt();
        self.bench.assert_nothing_pinned();
        made.assert_gone();
    }
}

#[rstest]
#[case::tracepoint("tracepoint", "", &events::exec)]
#[case::tracepoint_by_its_short_name("tracepoint_exec", "", &events::exec)]
#[case::raw_tp("raw_tp", "", &events::exec)]
#[case::tp_btf("tp_btf", "", &events::exec)]
#[case::iter("iter_task", "", &|| ())]
#[case::perf_event("perf_event", "perfEvent: {event: CpuClock, sampleFrequency: 199}", &events::work)]
fn tracing(#[case] name: &str, #[case] target: &str, #[case] event: &dyn Fn()) {
    let bench = Bench::new();
    let hooks = if target.is_empty() {
        String::new()
    } else {
        hooks(&["on_sample"], &format!("{{{target}}}"))
    };
    let read_iterator = || {
        let path = bench.root().join("case/iters/list_tasks");
        let tasks = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            tasks.lines().any(|line| line == std::process::id().to_string()),
            "{tasks}"
        );
    };
    let event: &dyn Fn() = if name == "iter_task" {
        &read_iterator
    } else {
        event
    };
    Case {
        bench: &bench,
        object: name,
        hooks,
        event,
    }
    .check();
}

#[test]
fn uprobe_and_uretprobe() {
    let target = format!("{{binary: {{path: {}, symbol: getppid}}}}", events::libc());
    let bench = Bench::new();
    let event = || assert!(nix::unistd::getppid().as_raw() >= 0);
    Case {
        bench: &bench,
        object: "uprobe",
        hooks: hooks(&["on_enter", "on_return"], &target),
        event: &event,
    }
    .check();
}

#[rstest]
#[case::xdp_on_loopback("xdp", &["pass"], "name: lo")]
#[case::xdp_generic("xdp", &["pass"], "name: lo, xdpMode: Generic")]
#[case::xdp_in_the_driver("xdp", &["pass"], "name: right, xdpMode: Driver")]
#[case::xdp_where_the_kernel_likes("xdp", &["pass"], "name: right, xdpMode: Auto")]
#[case::tcx("tcx", &["count_ingress", "count_egress"], "name: lo")]
#[case::tc_ingress("tc", &["classify"], "name: right, direction: Ingress")]
#[case::tc_egress("tc", &["classify"], "name: left, direction: Egress")]
#[case::tc_on_the_default_route("tc", &["classify"], "defaultRoute: true, direction: Egress")]
fn on_interfaces(#[case] name: &str, #[case] programs: &[&str], #[case] interface: &str) {
    netns::inside(|| {
        netns::cable();
        netns::run("ip route add default via 10.9.8.2 dev left");
        let bench = Bench::new();
        let event = || {
            for way in ["ingress", "egress"] {
                // Adopted, not attached a second time.
                let filters = |device| {
                    netns::run(&format!("tc filter show dev {device} {way}"))
                        .matches(" bpf ")
                        .count()
                };
                // Each filter is two lines, of which the first names the chain alone.
                assert!(filters("left") + filters("right") <= 2, "{}", filters("right"));
            }
            events::loopback_packet();
            events::cable_packet();
        };
        let hooks = hooks(programs, &format!("{{interface: {{{interface}}}}}"));
        Case {
            bench: &bench,
            object: name,
            hooks,
            event: &event,
        }
        .check();
        for way in ["ingress", "egress"] {
            for device in ["left", "right", "lo"] {
                let filters = netns::run(&format!("tc filter show dev {device} {way}"));
                assert!(!filters.contains("bpf"), "{device} {way}: {filters}");
            }
        }
        assert!(!netns::run("ip link").contains("xdp"));
    });
}

#[rstest]
#[case::skb("cgroup_skb", &["skb_ingress", "skb_egress"])]
#[case::sock("cgroup_sock", &["on_sock_create", "on_sock_release", "on_post_bind4", "on_post_bind6"])]
#[case::sock_addr("cgroup_sock_addr", &[
    "on_bind4", "on_bind6", "on_connect4", "on_connect6", "on_sendmsg4", "on_sendmsg6", "on_recvmsg4",
    "on_recvmsg6", "on_getpeername4", "on_getpeername6", "on_getsockname4", "on_getsockname6",
])]
#[case::sockopt("cgroup_sockopt", &["on_getsockopt", "on_setsockopt"])]
#[case::sysctl("cgroup_sysctl", &["on_sysctl"])]
#[case::device("cgroup_dev", &["on_device"])]
#[case::sock_ops("sockops", &["on_sockops"])]
fn on_cgroups(#[case] name: &str, #[case] programs: &[&str]) {
    netns::inside(|| {
        let (cgroup, bench) = (Cgroup::new(), Bench::new());
        let hooks = hooks(programs, &format!("{{cgroup: {{path: {}}}}}", cgroup.target()));
        Case {
            bench: &bench,
            object: name,
            hooks,
            event: &|| events::in_cgroup(cgroup.path()),
        }
        .check();
    });
}

#[test]
fn sk_lookup_in_the_network_namespace() {
    netns::inside(|| {
        let bench = Bench::new();
        let event = || drop(events::connection("127.0.0.1:0").unwrap());
        Case {
            bench: &bench,
            object: "sk_lookup",
            hooks: String::new(),
            event: &event,
        }
        .check();
    });
}

/// Connections whose ends a test put into a sockmap.
struct Sockets {
    map: PathBuf,
    ends: RefCell<Option<(TcpStream, TcpStream)>>,
}

impl Sockets {
    fn talk(&self) {
        let mut ends = self.ends.borrow_mut();
        let (client, server) = ends.get_or_insert_with(|| {
            let ends = events::connection("127.0.0.1:0").unwrap();
            // aya's own type takes values of 4 bytes only, the kernel of 8 as well.
            let map = Map::HashMap(MapData::from_pin(&self.map).unwrap());
            let mut map: HashMap<_, u32, u64> = map.try_into().unwrap();
            map.insert(0, u64::try_from(ends.0.as_raw_fd()).unwrap(), 0)
                .unwrap();
            ends
        });
        events::talk(client, server);
        events::talk(server, client);
    }
}

#[rstest]
#[case::sk_msg("sk_msg", "")]
#[case::sk_msg_of_a_named_map(
    "sk_msg",
    "[{name: on-message, anyOf: [{program: on_message, target: {sockMap: {map: sockets}}}]}]"
)]
#[case::sk_skb_parser_and_verdict("sk_skb", "")]
fn in_sockmaps(#[case] name: &str, #[case] hooks: &str) {
    netns::inside(|| {
        let bench = Bench::new();
        let sockets = Sockets {
            map: bench.map("case", "sockets"),
            ends: RefCell::default(),
        };
        Case {
            bench: &bench,
            object: name,
            hooks: hooks.to_owned(),
            event: &|| sockets.talk(),
        }
        .check();
    });
}
