//! `make bench-btf`: what this crate costs, beside libbpf and bpftool in the same run, on the same objects and
//! kernels, after a warm-up. Prints one table; fails if a bar is missed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bpf_oracle::corpus::{self, Corpus};
use bpf_oracle::libbpf;
use btf::co_re::{Relocator, Targets};
use btf::{Btf, RelocationInfo, Source, minimize};
use common::take_apart;

/// One line of the table.
struct Row {
    what: &'static str,
    ours: String,
    theirs: String,
    result: String,
    bar: &'static str,
    held: bool,
}

/// An object, taken apart.
struct Object {
    path: PathBuf,
    btf: Vec<u8>,
    relocations: Vec<RelocationInfo>,
}

/// A kernel's BTF.
struct Kernel {
    path: PathBuf,
    bytes: Vec<u8>,
}

fn main() -> ExitCode {
    // This program calls itself to see what memory opening takes.
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, path] = args.as_slice()
        && mode.starts_with("peak-")
    {
        peak_child(mode, Path::new(path));
        return ExitCode::SUCCESS;
    }
    let corpus = corpus::ensure().expect("the corpus of objects and kernels");
    let (objects, kernels) = load(&corpus);
    println!(
        "{} objects with CO-RE relocations, {} kernels, {} ({})\n",
        objects.len(),
        kernels.len(),
        version("bpftool"),
        cpu()
    );
    let rows = [
        whole_process(&objects, &kernels),
        opening(&kernels),
        minimizing(&objects, &kernels),
        minimizing_many(&objects, &kernels),
        matrix(&objects, &kernels),
        peak(&kernels),
        sizes(&objects, &kernels),
    ];
    println!(
        "{:<46} {:>12} {:>12} {:>24} {:>12}",
        "what", "ours", "theirs", "result", "bar"
    );
    for row in &rows {
        let verdict = if row.held { "" } else { "  MISSED" };
        println!(
            "{:<46} {:>12} {:>12} {:>24} {:>12}{verdict}",
            row.what, row.ours, row.theirs, row.result, row.bar
        );
    }
    ExitCode::from(u8::from(!rows.iter().all(|row| row.held)))
}

fn load(corpus: &Corpus) -> (Vec<Object>, Vec<Kernel>) {
    let objects = corpus
        .objects
        .iter()
        .filter_map(|o| {
            let parts = take_apart(&o.bytes().unwrap())?;
            Some(Object {
                path: o.path.clone(),
                btf: parts.btf,
                relocations: parts.relocations.iter().map(|(_, r)| *r).collect(),
            })
        })
        .collect();
    let kernels = corpus
        .kernels
        .iter()
        .map(|k| Kernel {
            path: k.btf.clone(),
            bytes: std::fs::read(&k.btf).unwrap(),
        })
        .collect();
    (objects, kernels)
}

fn timed<T>(f: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(f());
    start.elapsed()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Medians in milliseconds of two things, and the median of their ratios. They are done in turn, so that both
/// meet the machine as it is just then; in each turn some times unmeasured and then some times measured, for
/// what the other left in the processor's caches and the kernel's free memory is not its matter.
fn paired(rounds: usize, mut a: impl FnMut(), mut b: impl FnMut()) -> (f64, f64, f64) {
    fn turn(f: &mut impl FnMut()) -> f64 {
        f();
        f();
        median((0..3).map(|_| timed(&mut *f).as_secs_f64() * 1e3).collect())
    }
    let (mut first, mut second, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (x, y) = (turn(&mut a), turn(&mut b));
        first.push(x);
        second.push(y);
        ratios.push(x / y);
    }
    (median(first), median(second), median(ratios))
}

/// Some of many, spread evenly.
fn some<T>(all: &[T], count: usize) -> impl Iterator<Item = &T> {
    all.iter().step_by(all.len().div_ceil(count).max(1))
}

fn fraction(ratio: f64) -> String {
    format!("1/{:.1}", 1.0 / ratio)
}

fn run(command: &mut Command) {
    // cargo sets it for what it starts, and the loader would look through its folders first.
    command.env_remove("LD_LIBRARY_PATH");
    let status = command.stdout(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

fn whole_process(objects: &[Object], kernels: &[Kernel]) -> Row {
    // In memory: what the disk's file system does with a replaced file is neither's matter.
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let (mine, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    // As it is released, without shared libraries; else as cargo built it for this run.
    let command = std::env::var_os("BTF_COMMAND").unwrap_or_else(|| env!("CARGO_BIN_EXE_btf").into());
    let mut cells = Vec::new();
    for kernel in some(kernels, 6) {
        for object in some(objects, 5) {
            cells.push(paired(
                5,
                || {
                    run(Command::new(&command)
                        .arg("min")
                        .arg(&object.path)
                        .arg("--btf")
                        .arg(&kernel.path)
                        .arg("-o")
                        .arg(&mine));
                },
                || {
                    run(Command::new("bpftool")
                        .args(["gen", "min_core_btf"])
                        .arg(&kernel.path)
                        .arg(&theirs)
                        .arg(&object.path));
                },
            ));
        }
    }
    ratio_row("whole process, one object", &cells, 1.0 / 6.0, "≤ 1/6")
}

/// The median over cells, held against a bar; the worst cell is shown.
fn ratio_row(what: &'static str, cells: &[(f64, f64, f64)], bar: f64, bar_text: &'static str) -> Row {
    let middle = |part: fn(&(f64, f64, f64)) -> f64| median(cells.iter().map(part).collect());
    let ratio = middle(|c| c.2);
    let worst = cells.iter().map(|c| c.2).fold(0.0, f64::max);
    Row {
        what,
        ours: format!("{:.3} ms", middle(|c| c.0)),
        theirs: format!("{:.3} ms", middle(|c| c.1)),
        result: format!("{} (worst {})", fraction(ratio), fraction(worst)),
        bar: bar_text,
        held: ratio <= bar,
    }
}

fn opening(kernels: &[Kernel]) -> Row {
    let cells: Vec<_> = kernels
        .iter()
        .map(|kernel| {
            paired(
                5,
                || drop(black_box(Btf::parse(kernel.bytes.as_slice()).unwrap())),
                || drop(black_box(libbpf::Btf::new(&kernel.bytes).unwrap())),
            )
        })
        .collect();
    ratio_row(
        "opening a kernel's BTF from memory (libbpf)",
        &cells,
        0.5,
        "≤ 1/2",
    )
}

fn minimizing(objects: &[Object], kernels: &[Kernel]) -> Row {
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut cells = Vec::new();
    for kernel in some(kernels, 5) {
        let btf = Btf::parse(kernel.bytes.as_slice()).unwrap();
        for object in some(objects, 10) {
            let local = Btf::parse(object.btf.as_slice()).unwrap();
            cells.push(paired(
                3,
                || {
                    let source = Source {
                        btf: &local,
                        relocations: &object.relocations,
                    };
                    black_box(minimize(&[source], Targets::kernel(&btf)).unwrap());
                },
                || {
                    run(Command::new("bpftool")
                        .args(["gen", "min_core_btf"])
                        .arg(&kernel.path)
                        .arg(out.path())
                        .arg(&object.path));
                },
            ));
        }
    }
    ratio_row(
        "minimize, target open (one run of bpftool)",
        &cells,
        1.0 / 20.0,
        "≤ 1/20",
    )
}

/// bpftool spreads its start over many objects too.
fn minimizing_many(objects: &[Object], kernels: &[Kernel]) -> Row {
    let out = tempfile::NamedTempFile::new().unwrap();
    let locals: Vec<Btf<'_>> = objects
        .iter()
        .map(|o| Btf::parse(o.btf.as_slice()).unwrap())
        .collect();
    let cells: Vec<_> = some(kernels, 4)
        .map(|kernel| {
            let btf = Btf::parse(kernel.bytes.as_slice()).unwrap();
            let (ours, theirs, ratio) = paired(
                1,
                || {
                    for (local, object) in locals.iter().zip(objects) {
                        let source = Source {
                            btf: local,
                            relocations: &object.relocations,
                        };
                        black_box(minimize(&[source], Targets::kernel(&btf)).unwrap());
                    }
                },
                || {
                    run(Command::new("bpftool")
                        .args(["gen", "min_core_btf"])
                        .arg(&kernel.path)
                        .arg(out.path())
                        .args(objects.iter().map(|o| &o.path)));
                },
            );
            let count = objects.len() as f64;
            (ours / count, theirs / count, ratio)
        })
        .collect();
    ratio_row(
        "the same, bpftool with all objects in one run",
        &cells,
        1.0 / 20.0,
        "≤ 1/20",
    )
}

fn matrix(objects: &[Object], kernels: &[Kernel]) -> Row {
    let check = || {
        let mut poisoned = 0u64;
        for kernel in kernels {
            let btf = Btf::parse(kernel.bytes.as_slice()).unwrap();
            for object in objects {
                let local = Btf::parse(object.btf.as_slice()).unwrap();
                let mut relocator = Relocator::new(&local, Targets::kernel(&btf));
                for relocation in &object.relocations {
                    let answer = relocator.relocate(relocation);
                    poisoned += u64::from(answer.is_ok_and(|o| o.value.is_none()));
                }
            }
        }
        poisoned
    };
    black_box(check());
    let times = (0..3).map(|_| timed(check).as_secs_f64() * 1e3).collect();
    let cells = objects.len() * kernels.len();
    let mean = median(times) / cells as f64;
    Row {
        what: "relocation check of the whole matrix, a cell",
        ours: format!("{mean:.3} ms"),
        theirs: "-".into(),
        result: format!("{cells} cells"),
        bar: "≤ 0.25 ms",
        held: mean <= 0.25,
    }
}

fn peak_child(mode: &str, path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    if mode == "peak-open" {
        let btf = Btf::parse(bytes.as_slice()).unwrap();
        black_box(btf.len());
    }
    if mode == "peak-look-up" {
        let btf = Btf::parse(bytes.as_slice()).unwrap();
        black_box(btf.candidates(b"task_struct").count());
    }
    if mode == "peak-libbpf" {
        black_box(libbpf::Btf::new(&bytes).unwrap());
    }
    black_box(&bytes);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    print!("{}", line.split_whitespace().nth(1).unwrap());
}

/// Peak memory of a process that reads the file and opens it, less one that only reads it.
fn peak(kernels: &[Kernel]) -> Row {
    let largest = kernels.iter().max_by_key(|k| k.bytes.len()).unwrap();
    let measure = |mode: &str| {
        let runs = (0..5).map(|_| {
            let out = Command::new(std::env::current_exe().unwrap())
                .arg(mode)
                .arg(&largest.path)
                .output()
                .unwrap();
            String::from_utf8(out.stdout).unwrap().parse::<f64>().unwrap() / 1024.0
        });
        median(runs.collect())
    };
    let read = measure("peak-read");
    let open = measure("peak-open") - read;
    let looked_up = measure("peak-look-up") - read;
    Row {
        what: "peak memory of opening, beyond the bytes",
        ours: format!("{open:.2} MiB"),
        theirs: format!("{:.2} MiB", measure("peak-libbpf") - read),
        result: format!("{looked_up:.2} MiB with names"),
        bar: "≤ 2 MiB",
        held: open <= 2.0,
    }
}

fn sizes(objects: &[Object], kernels: &[Kernel]) -> Row {
    let (mut ours, mut theirs, mut above, mut cells, mut failed) = (0, 0, 0, 0, 0);
    for kernel in kernels {
        let btf = Btf::parse(kernel.bytes.as_slice()).unwrap();
        for object in objects {
            let local = Btf::parse(object.btf.as_slice()).unwrap();
            let source = Source {
                btf: &local,
                relocations: &object.relocations,
            };
            let mine = minimize(&[source], Targets::kernel(&btf)).unwrap().bytes.len();
            let Ok(other) = libbpf::bpftool_min(&[&object.path], &kernel.path) else {
                failed += 1;
                continue;
            };
            above += usize::from(mine > other.len());
            ours += mine;
            theirs += other.len();
            cells += 1;
        }
    }
    if failed > 0 {
        println!("bpftool failed in {failed} cells, which are left out of the sizes");
    }
    Row {
        what: "size of minimized BTF, mean",
        ours: format!("{} B", ours / cells),
        theirs: format!("{} B", theirs / cells),
        result: format!("above in {above} of {cells}"),
        bar: "in none",
        held: above == 0,
    }
}

fn version(command: &str) -> String {
    let out = Command::new(command)
        .arg("version")
        .output()
        .expect("it is installed");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown processor".into(), |(_, name)| name.to_owned())
}
