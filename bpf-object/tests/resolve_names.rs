//! Every section name that libbpf knows opens in aya after `resolve`, as what it is or, where aya has no
//! such kind, with a plan that says what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/resolving.rs"]
mod resolving;

use aya_obj::ProgramSection;
use bpf_object::{Loader, OwnReason, ResolveError, inspect};
use common::compile;
use resolving::Wish;

/// What such programs attach to.
const KERNEL: &str = r#"
int vfs_read(int x) { return x; }
int bpf_lsm_file_open(int x) { return x; }
int bpf_iter_task(int x) { return x; }
typedef void (*btf_trace_sched_switch)(void *, int);
btf_trace_sched_switch hook;
"#;

/// Section, `enum bpf_prog_type`, `enum bpf_attach_type`, who loads it.
const SECTIONS: &[(&str, u32, u32, Loader)] = {
    use Loader::{Aya, Own};
    use OwnReason::{AttachType, Type};
    &[
        ("socket", 1, 0, Aya),
        ("socket/filter", 1, 0, Aya),
        ("kprobe/vfs_read", 2, 0, Aya),
        ("?kprobe/vfs_read+4", 2, 0, Aya),
        ("kretprobe/vfs_read", 2, 0, Aya),
        ("kprobe.multi/vfs_*", 2, 42, Own(AttachType)),
        ("kretprobe.multi/vfs_*", 2, 42, Own(AttachType)),
        ("kprobe.session/vfs_*", 2, 56, Own(AttachType)),
        ("ksyscall/nanosleep", 2, 0, Aya),
        ("kretsyscall/nanosleep", 2, 0, Aya),
        ("uprobe/libc.so.6:malloc", 2, 0, Aya),
        ("uprobe.s//bin/sh:main", 2, 0, Aya),
        ("uretprobe/libc.so.6:malloc", 2, 0, Aya),
        ("uretprobe.s", 2, 0, Aya),
        ("uprobe.multi/libc.so.6:mal*", 2, 48, Own(AttachType)),
        ("uprobe.multi.s/libc.so.6:mal*", 2, 48, Own(AttachType)),
        ("uretprobe.multi/libc.so.6:mal*", 2, 48, Own(AttachType)),
        ("uprobe.session/libc.so.6:mal*", 2, 57, Own(AttachType)),
        ("usdt/libc.so.6:libc:setjmp", 2, 0, Aya),
        ("usdt.s/libc.so.6:libc:setjmp", 2, 0, Aya),
        ("tc", 3, 0, Aya),
        ("classifier", 3, 0, Aya),
        ("tc/ingress", 3, 46, Aya),
        ("tcx/ingress", 3, 46, Aya),
        ("tcx/egress", 3, 47, Aya),
        ("netkit/primary", 3, 54, Aya),
        ("netkit/peer", 3, 55, Aya),
        ("action", 4, 0, Own(Type)),
        ("tp/sched/sched_switch", 5, 0, Aya),
        ("tracepoint/sched/sched_switch", 5, 0, Aya),
        ("xdp", 6, 37, Aya),
        ("xdp/firewall", 6, 37, Aya),
        ("xdp.frags", 6, 37, Aya),
        ("xdp.frags/firewall", 6, 37, Aya),
        ("xdp/devmap", 6, 33, Aya),
        ("xdp/cpumap", 6, 35, Aya),
        ("perf_event", 7, 0, Aya),
        ("cgroup_skb/ingress", 8, 0, Aya),
        ("cgroup_skb/egress", 8, 1, Aya),
        ("cgroup/skb", 8, 0, Aya),
        ("cgroup/sock", 9, 2, Aya),
        ("cgroup/sock_create", 9, 2, Aya),
        ("cgroup/sock_release", 9, 34, Aya),
        ("cgroup/post_bind4", 9, 12, Aya),
        ("cgroup/post_bind6", 9, 13, Aya),
        ("lwt_in", 10, 0, Own(Type)),
        ("lwt_out", 11, 0, Own(Type)),
        ("lwt_xmit", 12, 0, Own(Type)),
        ("sockops", 13, 3, Aya),
        ("sk_skb/stream_parser", 14, 4, Aya),
        ("sk_skb/stream_verdict", 14, 5, Aya),
        ("sk_skb/verdict", 14, 38, Own(AttachType)),
        ("sk_skb", 14, 0, Own(AttachType)),
        ("cgroup/dev", 15, 6, Aya),
        ("sk_msg", 16, 7, Aya),
        ("raw_tp/sched_switch", 17, 0, Aya),
        ("raw_tracepoint/sched_switch", 17, 0, Aya),
        ("cgroup/bind4", 18, 8, Aya),
        ("cgroup/bind6", 18, 9, Aya),
        ("cgroup/connect4", 18, 10, Aya),
        ("cgroup/connect6", 18, 11, Aya),
        ("cgroup/connect_unix", 18, 49, Own(AttachType)),
        ("cgroup/sendmsg4", 18, 14, Aya),
        ("cgroup/sendmsg6", 18, 15, Aya),
        ("cgroup/sendmsg_unix", 18, 50, Own(AttachType)),
        ("cgroup/recvmsg4", 18, 19, Aya),
        ("cgroup/recvmsg6", 18, 20, Aya),
        ("cgroup/getpeername4", 18, 29, Aya),
        ("cgroup/getpeername6", 18, 30, Aya),
        ("cgroup/getsockname4", 18, 31, Aya),
        ("cgroup/getsockname6", 18, 32, Aya),
        ("cgroup/getsockname_unix", 18, 53, Own(AttachType)),
        ("lwt_seg6local", 19, 0, Own(Type)),
        ("lirc_mode2", 20, 16, Aya),
        ("sk_reuseport", 21, 39, Aya),
        ("sk_reuseport/migrate", 21, 40, Aya),
        ("flow_dissector", 22, 17, Aya),
        ("cgroup/sysctl", 23, 18, Aya),
        ("raw_tp.w/nbd_send_request", 24, 0, Own(Type)),
        ("cgroup/getsockopt", 25, 21, Aya),
        ("cgroup/setsockopt", 25, 22, Aya),
        ("tp_btf/sched_switch", 26, 23, Aya),
        ("fentry/vfs_read", 26, 24, Aya),
        ("fentry.s/vfs_read", 26, 24, Aya),
        ("fexit/vfs_read", 26, 25, Aya),
        ("fmod_ret/vfs_read", 26, 26, Own(AttachType)),
        ("fmod_ret.s/vfs_read", 26, 26, Own(AttachType)),
        ("iter/task", 26, 28, Aya),
        ("iter.s/task", 26, 28, Aya),
        ("freplace/other", 28, 0, Aya),
        ("lsm/file_open", 29, 27, Aya),
        ("lsm.s/file_open", 29, 27, Aya),
        ("lsm_cgroup/file_open", 29, 43, Aya),
        ("sk_lookup", 30, 36, Aya),
        ("syscall", 31, 0, Own(Type)),
        ("netfilter", 32, 45, Own(Type)),
    ]
};

#[test]
fn every_section_name_opens_in_aya() {
    let mut source = String::new();
    for (place, (section, ..)) in SECTIONS.iter().enumerate() {
        source.push_str(&format!(
            "__attribute__((section(\"{section}\"), used)) int p{place}(void *ctx) {{ return {place}; }}\n"
        ));
    }
    let object = compile(&source);
    let names: Vec<String> = (0..SECTIONS.len()).map(|p| format!("p{p}")).collect();
    let mut wish = Wish::on(KERNEL).programs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    wish.syscall_prefix = Some("__x64_sys_");
    let linked = wish.linked(&object);
    for (place, (section, program_type, attach_type, loader)) in SECTIONS.iter().enumerate() {
        let name = format!("p{place}");
        let plan = linked.plan(&name);
        assert_eq!(
            (plan.program_type, plan.expected_attach_type, plan.loader),
            (*program_type, *attach_type, *loader),
            "{section}"
        );
        assert_eq!(plan.section, *section);
        let sleepable = section.contains(".s/") || section.ends_with(".s") || *section == "syscall";
        assert_eq!(plan.flags & 16 != 0, sleepable, "{section}");
        assert_eq!(
            plan.flags & 32 != 0,
            section.starts_with("xdp.frags"),
            "{section}"
        );
        let code = linked.code(&name);
        assert_eq!(
            (code[0].imm, code.len()),
            (i32::try_from(place).unwrap(), 2),
            "{section}"
        );
        assert_eq!(
            plan.needs_kernel_btf.is_some(),
            plan.attach.is_some(),
            "{section}"
        );
        if matches!(loader, Loader::Aya) {
            let opened = &linked.object.programs[&name].section;
            assert_eq!(type_in_aya(opened), *program_type, "{section}: {opened:?}");
        }
    }
}

/// The type with which aya loads what it opened as this.
fn type_in_aya(section: &ProgramSection) -> u32 {
    use ProgramSection as S;
    match section {
        S::SocketFilter => 1,
        S::KProbe | S::KRetProbe | S::UProbe { .. } | S::URetProbe { .. } => 2,
        S::SchedClassifier => 3,
        S::TracePoint => 5,
        S::Xdp { .. } => 6,
        S::PerfEvent => 7,
        S::CgroupSkb { .. } => 8,
        S::CgroupSock { .. } => 9,
        S::SockOps => 13,
        S::SkSkbStream { .. } => 14,
        S::CgroupDevice => 15,
        S::SkMsg => 16,
        S::RawTracePoint => 17,
        S::CgroupSockAddr { .. } => 18,
        S::LircMode2 => 20,
        S::SkReuseport { .. } => 21,
        S::FlowDissector => 22,
        S::CgroupSysctl => 23,
        S::CgroupSockopt { .. } => 25,
        S::BtfTracePoint | S::FEntry { .. } | S::FExit { .. } | S::Iter { .. } => 26,
        S::Extension => 28,
        S::Lsm { .. } | S::LsmCgroup => 29,
        S::SkLookup => 30,
    }
}

const TARGETS: &str = r#"
#define PROGRAM(sec, name) __attribute__((section(sec), used)) int name(void *ctx) { return 0; }
PROGRAM("fentry/vfs_read", entry)
PROGRAM("lsm/file_open", guard)
PROGRAM("iter/task", walk)
PROGRAM("tp_btf/sched_switch", traced)
PROGRAM("fentry", open)
PROGRAM("?fentry/gone", gone)
PROGRAM("ksyscall/nanosleep", nap)
"#;

#[test]
fn what_programs_attach_to_is_found_in_the_kernel() {
    let object = compile(TARGETS);
    let mut wish = Wish::on(KERNEL).programs(&["entry", "guard", "walk", "traced", "nap", "open"]);
    wish.syscall_prefix = Some("__arm64_sys_");
    let message = wish.refusal(&object);
    assert!(
        message.contains("program open of kind fentry must say what it attaches to"),
        "{message}"
    );
    wish.attach.insert(
        "open".into(),
        bpf_object::AttachTo {
            module: None,
            name: "vfs_read".into(),
        },
    );
    let linked = wish.linked(&object);
    let kernel = wish.kernel.as_ref().unwrap();
    for (program, name) in [
        ("entry", "vfs_read"),
        ("open", "vfs_read"),
        ("guard", "bpf_lsm_file_open"),
        ("walk", "bpf_iter_task"),
        ("traced", "btf_trace_sched_switch"),
    ] {
        let attach = linked.plan(program).attach.as_ref().unwrap();
        assert_eq!((attach.name.as_str(), &attach.module), (name, &None), "{program}");
        assert_eq!(kernel.get(attach.type_id).unwrap().name(), name);
    }
    assert_eq!(
        linked.plan("nap").syscall_function.as_deref(),
        Some("__arm64_sys_nanosleep")
    );
    assert!(linked.resolved.holds_addresses, "type ids are this kernel's");

    wish.syscall_prefix = None;
    assert!(matches!(
        wish.resolve(&object),
        Err(ResolveError::NoSyscallPrefix { .. })
    ));
    let message = Wish::on(KERNEL).programs(&["gone"]).refusal(&object);
    assert!(message.contains("this kernel's BTF has no gone"), "{message}");
}

#[test]
fn a_module_that_is_not_loaded_is_said_to_be_missing() {
    let object = compile(
        r#"
        __attribute__((section("fentry/nf_tables:nft_trans_alloc"), used)) int inner(void *ctx) { return 0; }
        __attribute__((section("fentry/vmlinux:vfs_read"), used)) int own(void *ctx) { return 0; }
        __attribute__((section("fentry/vmlinux:gone"), used)) int gone(void *ctx) { return 0; }
        "#,
    );
    let wish = |program| Wish::on(KERNEL).programs(&[program]);
    let message = wish("inner").refusal(&object);
    assert!(
        message.contains("nft_trans_alloc in module nf_tables, which is not loaded")
            && message.contains("modprobe nf_tables"),
        "{message}"
    );
    let own = wish("own").linked(&object);
    assert_eq!(own.plan("own").attach.as_ref().unwrap().module, None);
    let message = wish("gone").refusal(&object);
    assert!(message.contains("has no gone in module vmlinux"), "{message}");
}

#[test]
fn an_offset_where_only_whole_functions_can_be_attached_to_is_refused() {
    let object = compile(
        r#"
        __attribute__((section("fentry/vfs_read+0x10"), used)) int entry(void *ctx) { return 0; }
        __attribute__((section("kprobe/vfs_read+0x10"), used)) int probe(void *ctx) { return 0; }
        "#,
    );
    let message = Wish::on(KERNEL).programs(&["entry"]).refusal(&object);
    assert!(
        message.contains("entry: attaching fentry at vfs_read+0x10 is not supported")
            && message.contains("use kprobe"),
        "{message}"
    );
    assert!(Wish::on(KERNEL).programs(&["probe"]).resolve(&object).is_ok());
}

#[test]
fn without_the_kernels_own_btf_they_are_refused_unless_left_out() {
    let object = compile(TARGETS);
    let without = Wish::nowhere().programs(&["entry"]);
    let message = without.refusal(&object);
    assert!(
        message.contains("program entry: being a fentry program needs the kernel's own BTF")
            && message.contains("this kernel has none"),
        "{message}"
    );
    let mut supplied = Wish::nowhere().programs(&["guard"]);
    supplied.supplied = Wish::on(KERNEL).kernel;
    assert!(supplied.refusal(&object).contains("only BTF from elsewhere"));
    let mut other = Wish::nowhere().programs(&["nap"]);
    other.syscall_prefix = Some("sys_");
    assert_eq!(other.linked(&object).resolved.plan.programs.len(), 1);
}

#[test]
fn a_section_name_that_says_nothing_is_refused_with_its_program() {
    let object = compile(
        r#"
        __attribute__((section("socket1"), used)) int odd(void *ctx) { return 0; }
        __attribute__((section("xdp"), used)) int fine(void *ctx) { return 2; }
        "#,
    );
    let message = Wish::nowhere().refusal(&object);
    assert!(
        message.contains("program odd: section name \"socket1\" is none"),
        "{message}"
    );
    assert_eq!(
        Wish::nowhere()
            .programs(&["fine"])
            .linked(&object)
            .resolved
            .plan
            .programs
            .len(),
        1
    );
}

#[test]
fn programs_are_asked_for_by_name_or_all_that_load_by_default() {
    let object = compile(TARGETS);
    let mut wish = Wish::on(KERNEL).programs(&["entri"]);
    let message = wish.refusal(&object);
    assert!(
        message.contains("no program \"entri\"; it has entry, "),
        "{message}"
    );
    wish.programs = None;
    wish.syscall_prefix = Some("sys_");
    wish.attach.insert(
        "open".into(),
        bpf_object::AttachTo {
            module: None,
            name: "vfs_read".into(),
        },
    );
    let wanted: Vec<String> = inspect(&object)
        .unwrap()
        .programs
        .iter()
        .filter(|p| p.autoload)
        .map(|p| p.name.clone())
        .collect();
    let linked = wish.linked(&object);
    let mut found: Vec<String> = linked
        .resolved
        .plan
        .programs
        .iter()
        .map(|p| p.name.clone())
        .collect();
    found.sort();
    let mut sorted = wanted.clone();
    sorted.sort();
    assert_eq!(found, sorted);
    let none = compile(r#"__attribute__((section("?xdp"), used)) int fine(void *ctx) { return 2; }"#);
    assert!(matches!(
        Wish::nowhere().resolve(&none),
        Err(ResolveError::NothingWanted)
    ));
}
