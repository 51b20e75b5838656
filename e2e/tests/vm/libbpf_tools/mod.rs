//! Debian's `libbpf-tools`: the agent on every kernel against libbpf there, program by program.
//!
//! Each object is given to the agent as a BpfProgram that says no more than the sizes of maps that the tools' user space
//! sets, and then with an optional hook for each program. libbpf loads and attaches each program alone. The agent must
//! get as far as libbpf with every program: it attaches what libbpf attaches, and what libbpf loads but cannot attach
//! (the kernel has no such function) it loads, which is seen by attaching it elsewhere. What is tied to its function when it
//! is loaded has no elsewhere: where neither attaches such a program, the agent does not load it, and the table says so.
//!
//! All objects of one suite take some minutes on an emulated kernel. `BPFLEET_TOOLS` chooses: a suite, `all` of them, or
//! names of tools with commas between them; without it there is a sample. `make e2e` takes all.
//! `BPFLEET_TOOLS_REPORT=DIR` writes the table and all rows into that directory.

mod agent;
mod compare;
mod objects;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bpf_oracle::corpus;
use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::vm::{self, GuestOptions, Kernel, Machine};

use compare::{OnKernel, Verdict};
use objects::Tool;

/// The suite that tools are from, if none is named.
const SUITE: &str = "trixie";
/// What every run takes: alternatives of which no kernel has all, `__kconfig` externs, USDT probes, and sizes that user
/// space sets. Few, since the agent is built without optimisation and the kernels are emulated.
const SAMPLE: &str = "biosnoop,javagc,offcputime";
/// For all programs of a suite to be tried by libbpf.
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn the_agent_runs_every_program_of_debians_tools_that_libbpf_runs() {
    let kernels = vm::ensure(&vm::matrix().unwrap()).unwrap();
    let tools = chosen(std::env::var("BPFLEET_TOOLS").ok().as_deref());
    let found = on_each(&kernels, &tools);
    let table = compare::markdown(&found);
    println!("{table}");
    if let Some(dir) = std::env::var_os("BPFLEET_TOOLS_REPORT").map(PathBuf::from) {
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("libbpf-tools.md"), &table).unwrap();
        std::fs::write(dir.join("libbpf-tools.csv"), compare::csv(&found)).unwrap();
    }
    let rows = || found.iter().flat_map(|kernel| &kernel.rows);
    let behind: Vec<_> = rows()
        .filter(|row| row.verdict() == Verdict::OnlyLibbpf)
        .collect();
    assert!(
        behind.is_empty(),
        "libbpf gets further with {} programs: {behind:#?}",
        behind.len()
    );
    let says = |(reason, message): (&str, &str)| !reason.is_empty() && !message.is_empty();
    let mute: Vec<_> = rows().filter(|row| !row.why().is_none_or(says)).collect();
    assert!(mute.is_empty(), "no reason is given: {mute:#?}");
    assert!(rows().any(|row| row.verdict() == Verdict::BothRun));
}

/// Everything on every kernel, as many guests at a time as there are processors.
fn on_each(kernels: &[Kernel], tools: &[Tool]) -> Vec<OnKernel> {
    let scratch = Scratch::new("tools").unwrap();
    let queue = Mutex::new(kernels.iter().enumerate().collect::<VecDeque<_>>());
    let found = Mutex::new(BTreeMap::new());
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        for _ in 0..at_once {
            threads.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((number, kernel)) = next else { return };
                    let on = on(&scratch, kernel, tools);
                    found
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(number, on);
                }
            });
        }
    });
    found.into_inner().unwrap().into_values().collect()
}

fn chosen(said: Option<&str>) -> Vec<Tool> {
    let said = said.filter(|said| !said.is_empty()).unwrap_or(SAMPLE);
    let objects = corpus::ensure().unwrap().objects;
    let suites: BTreeSet<_> = objects.iter().map(|object| object.set.clone()).collect();
    let named = |object: &corpus::Object| {
        let name = object.name.trim_end_matches(".bpf.o");
        object.set == SUITE && said.split(',').any(|said| said == name)
    };
    let wanted = |object: &&corpus::Object| match said {
        "all" => true,
        suite if suites.contains(suite) => object.set == suite,
        _ => named(object),
    };
    let tools: Vec<_> = objects.iter().filter(wanted).map(Tool::of).collect();
    assert!(!tools.is_empty(), "BPFLEET_TOOLS={said} chooses no object");
    tools
}

/// Everything on one kernel.
fn on(scratch: &Scratch, kernel: &Kernel, tools: &[Tool]) -> OnKernel {
    let name = kernel.spec.name;
    let options = GuestOptions {
        memory_mib: 1024,
        ..GuestOptions::default()
    };
    let dir = scratch.dir(name).unwrap();
    let machine = Machine::boot(name, kernel, &options, &dir, &dir).unwrap();
    for tool in tools {
        machine.write_file(&tool.path(), 0o644, &tool.bytes).unwrap();
    }
    machine
        .write_file(objects::probe_place()[0], 0o644, objects::probe())
        .unwrap();
    let mut found = OnKernel::of(kernel);
    // Objects of two suites have one name.
    for tools in tools.chunk_by(|a, b| a.set == b.set) {
        let started = Instant::now();
        let paths: Vec<_> = tools.iter().map(Tool::path).collect();
        let libbpf = vm::libbpf::try_each(&machine, &paths, LONG).unwrap();
        let after_libbpf = started.elapsed();
        let plain = agent::plain(&machine, tools);
        let after_plain = started.elapsed();
        let each = agent::each(&machine, tools);
        println!(
            "{name}: {} objects: libbpf {:.0} s; the agent {:.0} s as they are, {:.0} s program by program",
            tools.len(),
            after_libbpf.as_secs_f32(),
            (after_plain - after_libbpf).as_secs_f32(),
            (started.elapsed() - after_plain).as_secs_f32()
        );
        found.add(tools, libbpf, plain, each);
    }
    found
}
