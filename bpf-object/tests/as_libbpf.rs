//! What this kernel accepts of Debian's tools: resolved and loaded by aya the same programs as by libbpf.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use aya::programs::Program;
use bpf_object::kconfig::{Facts, Kconfig as Config};
use bpf_object::{Loader, MapSize, ObjectInfo, Request, SecTarget, Target, inspect, kconfig_of, resolve};
use bpf_oracle::{corpus, libbpf};
use btf::Btf;
use btf::co_re::Targets;

/// The running kernel, as far as objects ask.
struct Kernel {
    btf: Btf<'static>,
    for_aya: aya::Btf,
    config: Config,
    symbols: BTreeMap<String, u64>,
}

static KERNEL: LazyLock<Kernel> = LazyLock::new(|| Kernel {
    btf: Btf::parse(std::fs::read("/sys/kernel/btf/vmlinux").unwrap()).unwrap(),
    for_aya: aya::Btf::from_sys_fs().unwrap(),
    config: running::config(),
    symbols: running::symbols(),
});

/// Sizes that the tools' user space sets, which an object alone does not have.
fn sizes(info: &ObjectInfo) -> BTreeMap<String, MapSize> {
    const STACK_TRACE: u32 = 7;
    info.maps
        .iter()
        .filter_map(|map| {
            let size = MapSize {
                max_entries: (map.max_entries == 0
                    && map.type_name() != "ringbuf"
                    && !map.type_name().contains("perf"))
                .then_some(1024),
                value_size: (map.map_type == STACK_TRACE && map.value_size == 0).then_some(127 * 8),
            };
            (size != MapSize::default()).then(|| (map.name.clone(), size))
        })
        .collect()
}

/// Resolves one program of an object and loads it by aya.
fn load(
    loader: &mut aya::EbpfLoader<'_>,
    object: &[u8],
    info: &ObjectInfo,
    program: &str,
) -> Result<(), String> {
    let kernel = &*KERNEL;
    let wanted = BTreeSet::from([program.to_owned()]);
    let facts = Facts {
        kernel_version: 0x0006_0000,
        has_syscall_wrapper: Some(true),
        has_bpf_cookie: Some(true),
    };
    let kconfig = kconfig_of(object, Some(&kernel.config), &facts).map_err(|e| e.to_string())?;
    let request = Request {
        programs: Some(&wanted),
        kconfig: Some(&kconfig),
        ksyms: &kernel.symbols,
        map_sizes: &sizes(info),
        syscall_prefix: Some("__x64_sys_"),
        ..Request::new(Target::Kernel(Targets::kernel(&kernel.btf)))
    };
    let resolved = resolve(object, &request).map_err(|e| format!("resolve: {e}"))?;
    let plan = resolved.plan.programs.iter().find(|p| p.name == program).unwrap();
    if let Loader::Own(reason) = plan.loader {
        return Err(format!("not by aya: {reason:?}"));
    }
    let mut ebpf = loader
        .load(&resolved.elf)
        .map_err(|e| format!("open: {}", chain(&e)))?;
    let name = |target: &SecTarget| match target {
        SecTarget::Name(name) | SecTarget::Function { name, .. } => name.clone(),
        _ => String::new(),
    };
    let target = name(&plan.target);
    let btf = &kernel.for_aya;
    match ebpf.program_mut(program).ok_or("aya has no such program")? {
        Program::KProbe(p) => p.load(),
        Program::UProbe(p) => p.load(),
        Program::TracePoint(p) => p.load(),
        Program::RawTracePoint(p) => p.load(),
        Program::BtfTracePoint(p) => p.load(&target, btf),
        Program::FEntry(p) => p.load(&target, btf),
        Program::FExit(p) => p.load(&target, btf),
        Program::Lsm(p) => p.load(&target, btf),
        Program::Iter(p) => p.load(&target, btf),
        Program::PerfEvent(p) => p.load(),
        Program::SocketFilter(p) => p.load(),
        other => panic!("{program}: {:?}", other.prog_type()),
    }
    .map_err(|e| chain(&e))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[test]
fn of_debians_tools_the_same_programs_load_resolved_by_aya_and_as_they_are_by_libbpf() {
    let corpus = corpus::ensure().unwrap();
    // Each set has some three hundred programs, which takes some ten seconds.
    let every = std::env::var_os("BPF_OBJECT_ALL").is_some();
    let objects = corpus
        .objects
        .iter()
        .filter(|o| every || o.set == corpus.objects[0].set);
    let mut loader = aya::EbpfLoader::new();
    loader.btf(None).allow_unsupported_maps();
    let (mut both, mut neither) = (0, 0);
    let mut differ = Vec::new();
    for object in objects {
        let bytes = object.bytes().unwrap();
        let info = inspect(&bytes).unwrap();
        let theirs = libbpf::load_each(&bytes, None, |object| {
            for (map, size) in sizes(&info) {
                if let Some(entries) = size.max_entries {
                    object.set_max_entries(&map, entries)?;
                }
                if let Some(value) = size.value_size {
                    object.set_value_size(&map, value)?;
                }
            }
            Ok(())
        })
        .unwrap();
        for (program, theirs) in theirs {
            let ours = load(&mut loader, &bytes, &info, &program);
            match (&ours, &theirs) {
                (Ok(()), Ok(())) => both += 1,
                (Err(_), Err(_)) => neither += 1,
                _ => differ.push(format!(
                    "{}/{} {program}: ours {}, libbpf {}",
                    object.set,
                    object.name,
                    ours.map_or_else(|e| e, |()| "loads".into()),
                    theirs.map_or_else(|e| e.to_string(), |()| "loads".into()),
                )),
            }
        }
    }
    println!("{both} programs load both ways, {neither} neither way");
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
    assert!(both > 100);
}
