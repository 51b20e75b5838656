//! Filling the cache: one process at a time fetches, item by item, and what is there stays when one fails.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::plan::{Index, Item};
use super::{carve, image};

/// Written last. Another number fetches anew where the choice of packages changed.
const RECIPE: &str = "1\n";
const DOWNLOADS: usize = 3;
const TRIES: usize = 3;
/// After an attempt that got enough but not all, so that not every test asks the mirror again.
const PATIENCE: Duration = Duration::from_secs(600);

/// Makes the corpus in `dir` complete, or as good as `enough` wants it.
pub(super) fn fill(dir: &Path, enough: impl Fn() -> Result<(), String>) -> Result<(), String> {
    if complete(dir) {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(about("creating", dir))?;
    let path = dir.join(".lock");
    let lock = fs::File::create(&path).map_err(about("opening", &path))?;
    if lock.try_lock().is_err() {
        eprintln!("corpus: waiting for another process that fetches it");
        lock.lock().map_err(about("locking", &path))?;
    }
    if complete(dir) {
        return Ok(());
    }
    let tried = dir.join(".tried");
    if enough().is_ok() && age(&tried).is_some_and(|age| age < PATIENCE) {
        return Ok(());
    }
    let stage = dir.join(".stage");
    let fetched = fetch(dir, &stage);
    let _ = fs::remove_dir_all(&stage);
    match fetched {
        Ok(()) => {
            let _ = fs::remove_file(&tried);
            write(&dir.join(".complete"), RECIPE.as_bytes())
        }
        Err(e) => {
            write(&tried, b"")?;
            enough().map_err(|lacking| format!("{e}; and without that {lacking}"))?;
            eprintln!("corpus: {e}; going on with what is there");
            Ok(())
        }
    }
}

fn complete(dir: &Path) -> bool {
    fs::read_to_string(dir.join(".complete")).is_ok_and(|stamp| stamp == RECIPE)
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now()
        .duration_since(path.metadata().ok()?.modified().ok()?)
        .ok()
}

fn fetch(dir: &Path, stage: &Path) -> Result<(), String> {
    let started = Instant::now();
    let _ = fs::remove_dir_all(stage);
    let apt = stage.join("apt");
    let index = Index::parse(&script(&["index".as_ref(), apt.as_os_str()])?)?;
    for suite in &index.gone {
        eprintln!("corpus: skipping {suite}: the mirror does not have it");
    }
    let plan = index.plan();
    let missing: VecDeque<_> = plan
        .iter()
        .filter(|item| !dir.join(&item.place).exists())
        .collect();
    let (count, bytes) = (missing.len(), missing.iter().map(|item| item.bytes).sum::<u64>());
    eprintln!(
        "corpus: fetching {count} of {} parts into {}, {} MB",
        plan.len(),
        dir.display(),
        bytes / 1_000_000
    );
    let queue = Mutex::new(missing);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..DOWNLOADS {
            threads.spawn(|| {
                while let Some(item) = next(&queue) {
                    if let Err(e) = retried(|| make(dir, stage, &apt, item)) {
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{}: {e}", item.place));
                    }
                }
            });
        }
    });
    eprintln!("corpus: done in {:.0}s", started.elapsed().as_secs_f64());
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.extend(
        index
            .silent
            .iter()
            .map(|suite| format!("{suite}: its package list could not be read")),
    );
    if failed.is_empty() {
        forget_older(dir, &plan)
    } else {
        Err(format!(
            "fetching the test corpus failed in part ({}); it is tried again in ten minutes",
            failed.join("; ")
        ))
    }
}

fn next<'a>(queue: &Mutex<VecDeque<&'a Item>>) -> Option<&'a Item> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn retried(attempt: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let mut result = attempt();
    for _ in 1..TRIES {
        if result.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_secs(2));
        result = attempt();
    }
    result
}

/// One item: unpacked below the stage, carved beside that, and renamed to its place when it is whole.
fn make(dir: &Path, stage: &Path, apt: &Path, item: &Item) -> Result<(), String> {
    let started = Instant::now();
    let name = item.place.replace('/', "-");
    let (raw, made) = (
        stage.join(format!("{name}.raw")),
        stage.join(format!("{name}.made")),
    );
    for path in [&raw, &made] {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path).map_err(about("creating", path))?;
    }
    let mut args = vec!["unpack".as_ref(), apt.as_os_str(), raw.as_os_str()];
    args.extend(item.specs.iter().map(std::ffi::OsStr::new));
    script(&args)?;
    if item.place.starts_with("objects/") {
        make_objects(&raw, &made)
    } else {
        make_kernel(&raw, &made)
    }?;
    let place = dir.join(&item.place);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(about("creating", parent))?;
    }
    fs::rename(&made, &place).map_err(about("renaming to", &place))?;
    let _ = fs::remove_dir_all(&raw);
    eprintln!(
        "corpus: {} ({} MB, {:.1}s)",
        item.place,
        item.bytes / 1_000_000,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn make_objects(raw: &Path, made: &Path) -> Result<(), String> {
    for program in files(raw)? {
        let bytes = read(&program)?;
        for (i, object) in carve::objects(&bytes).into_iter().enumerate() {
            let more = if i == 0 {
                String::new()
            } else {
                format!("-{}", i + 1)
            };
            write(&made.join(format!("{}{more}.bpf.o", file_name(&program))), object)?;
        }
    }
    Ok(())
}

fn make_kernel(raw: &Path, made: &Path) -> Result<(), String> {
    let files = files(raw)?;
    let named = |prefix: &str| files.iter().find(|f| file_name(f).starts_with(prefix));
    let image = named("vmlinuz").ok_or("the packages hold no vmlinuz")?;
    let bytes = read(image)?;
    let kernel = image::unpack(&bytes).map_err(|e| format!("{}: {e}", file_name(image)))?;
    let btf = carve::kernel_btf(&kernel).ok_or_else(|| format!("{} holds no BTF", file_name(image)))?;
    write(&made.join("vmlinux"), btf)?;
    if let Some(config) = named("config") {
        write(&made.join("config"), &read(config)?)?;
    }
    let modules = made.join("modules");
    fs::create_dir_all(&modules).map_err(about("creating", &modules))?;
    for path in &files {
        let file = file_name(path);
        let Some((name, packing)) = file.split_once(".ko") else {
            continue;
        };
        let mut module = read(path)?;
        if !packing.is_empty() {
            module = image::decompress(&module).map_err(|e| format!("{file}: {e}"))?;
        }
        if let Some(btf) = carve::module_btf(&module).map_err(|e| format!("{file}: {e}"))? {
            write(&modules.join(name), &btf)?;
        }
    }
    Ok(())
}

/// What an earlier, partial run fetched of kernels that have newer ones now.
fn forget_older(dir: &Path, plan: &[Item]) -> Result<(), String> {
    for kind in ["btf", "objects"] {
        for path in super::entries(&dir.join(kind))? {
            if !plan.iter().any(|item| dir.join(&item.place) == path) {
                fs::remove_dir_all(&path).map_err(about("removing", &path))?;
            }
        }
    }
    Ok(())
}

/// What `scripts/corpus.sh` prints. What it says goes where this process's own messages go.
fn script(args: &[&std::ffi::OsStr]) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/corpus.sh");
    let out = Command::new(script)
        .args(args)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| format!("running {script}: {e}"))?;
    if !out.status.success() {
        return Err(format!(
            "scripts/corpus.sh {} failed ({}), see above",
            args[0].display(),
            out.status
        ));
    }
    String::from_utf8(out.stdout).map_err(|e| format!("what scripts/corpus.sh printed: {e}"))
}

/// The regular files below a directory, in order of their paths.
fn files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in super::entries(dir)? {
        let kind = path
            .symlink_metadata()
            .map_err(about("reading", &path))?
            .file_type();
        if kind.is_dir() {
            found.extend(files(&path)?);
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(about("reading", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(about("writing", path))
}

fn about(what: &str, path: &Path) -> impl Fn(std::io::Error) -> String {
    move |e| format!("{what} {}: {e}", path.display())
}
