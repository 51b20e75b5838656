//! Filling the cache: one process at a time fetches, item by item, and what is there stays when one fails.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::make::{make, write};
use super::plan::{Item, plan};
use super::{about, entries};
use crate::debian::Archive;

/// What the corpus is made by. Another number makes it anew: after a change of what is chosen, or how it is carved.
const RECIPE: &str = "2\n";
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
        say!("waiting for another process that fetches it");
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
            say!("{e}; going on with what is there");
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
    let (archive, index) = Archive::open(&stage.join("apt"))?;
    for suite in &index.gone {
        say!("skipping {suite}: the mirror does not have it");
    }
    // Not before a mirror answers: until then the old is better than nothing.
    begin(dir)?;
    let plan = plan(&index);
    let missing: VecDeque<_> = plan
        .iter()
        .filter(|item| !dir.join(&item.place).exists())
        .collect();
    let (count, bytes) = (missing.len(), missing.iter().map(|item| item.bytes).sum::<u64>());
    say!(
        "fetching {count} of {} parts into {}, {} MB",
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
                    if let Err(e) = retried(|| make(dir, stage, &archive, item)) {
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{}: {e}", item.place));
                    }
                }
            });
        }
    });
    say!("done in {:.0}s", started.elapsed().as_secs_f64());
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

/// What another recipe made goes; what an interrupted run of this one made stays.
fn begin(dir: &Path) -> Result<(), String> {
    let recipe = dir.join(".recipe");
    if fs::read_to_string(&recipe).is_ok_and(|r| r == RECIPE) {
        return Ok(());
    }
    for kind in ["btf", "objects"] {
        match fs::remove_dir_all(dir.join(kind)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(about("removing", &dir.join(kind))(e));
            }
            _ => {}
        }
    }
    write(&recipe, RECIPE.as_bytes())
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

/// What an earlier, partial run fetched of kernels that have newer ones now.
fn forget_older(dir: &Path, plan: &[Item]) -> Result<(), String> {
    for kind in ["btf", "objects"] {
        for path in entries(&dir.join(kind))? {
            if !plan.iter().any(|item| dir.join(&item.place) == path) {
                fs::remove_dir_all(&path).map_err(about("removing", &path))?;
            }
        }
    }
    Ok(())
}
