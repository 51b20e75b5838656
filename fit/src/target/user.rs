//! Binaries of the host, and sampled events.

use bpf_object::{Program, ProgramKind as K, SecTarget};
use bpfleet_crds::hook::{BinaryTarget, PerfEventTarget, UsdtTarget};

use super::{Attach, needs};
use crate::function::is_pattern;

pub(super) fn uprobe(program: &Program, given: Option<BinaryTarget>) -> Result<Attach, String> {
    const EXAMPLE: &str = "binary: {path: /usr/lib/x86_64-linux-gnu/libc.so.6, symbol: malloc}";
    match (given, &program.target) {
        (Some(BinaryTarget { path, symbol, offset }), _) => {
            // The API server checks these too; local mode has none.
            if !path.starts_with('/') {
                return Err(format!("binary.path {path:?} is not absolute, as in `{EXAMPLE}`"));
            }
            if symbol.is_none() && offset.is_none() {
                return Err("set binary.symbol, binary.offset, or both".to_owned());
            }
            let offset =
                u64::try_from(offset.unwrap_or(0)).map_err(|_| "binary.offset is negative".to_owned())?;
            let many = matches!(
                program.kind,
                K::UprobeMulti | K::UretprobeMulti | K::UprobeSession
            );
            if !many && symbol.as_deref().is_some_and(is_pattern) {
                return Err(format!(
                    "binary.symbol {:?} is a pattern, and program {} of kind {} is attached to one function; name it, or \
                     write SEC(\"uprobe.multi\")",
                    symbol.unwrap_or_default(),
                    program.name,
                    program.kind
                ));
            }
            Ok(Attach::Uprobe { path, symbol, offset })
        }
        (None, SecTarget::Binary { path, symbol, offset }) if path.starts_with('/') => Ok(Attach::Uprobe {
            path: path.clone(),
            symbol: (!symbol.is_empty()).then(|| symbol.clone()),
            offset: *offset,
        }),
        (None, SecTarget::Binary { path, .. }) => Err(format!(
            "program {} names the binary {path:?} without its directory, which differs between nodes: give \
             target.binary with an absolute path, as in `{EXAMPLE}`",
            program.name
        )),
        (None, _) => Err(needs(program, "binary", "which function", EXAMPLE)),
    }
}

pub(super) fn usdt(program: &Program, given: Option<UsdtTarget>) -> Result<Attach, String> {
    const EXAMPLE: &str = "usdt: {path: /usr/lib/jvm/default-java/lib/server/libjvm.so, provider: hotspot, \
                           name: gc__begin}";
    let (path, provider, name) = match (given, &program.target) {
        (Some(UsdtTarget { path, provider, name }), _) => (path, provider, name),
        (None, SecTarget::Usdt { path, provider, name }) => (path.clone(), provider.clone(), name.clone()),
        (None, _) => return Err(needs(program, "usdt", "which probe", EXAMPLE)),
    };
    if path.starts_with('/') {
        Ok(Attach::Usdt { path, provider, name })
    } else {
        Err(format!(
            "program {} names the binary {path:?} without its directory, which differs between nodes: give \
             target.usdt with an absolute path, as in `{EXAMPLE}`",
            program.name
        ))
    }
}

pub(super) fn perf_event(
    program: &Program,
    given: Option<PerfEventTarget>,
) -> Result<PerfEventTarget, String> {
    const EXAMPLE: &str = "perfEvent: {event: CpuClock, sampleFrequency: 49}";
    let given = given.ok_or_else(|| needs(program, "perfEvent", "which event to sample", EXAMPLE))?;
    if given.sample_frequency.is_some() == given.sample_period.is_some() {
        return Err(format!(
            "set exactly one of perfEvent.sampleFrequency and perfEvent.samplePeriod, as in `{EXAMPLE}`"
        ));
    }
    Ok(given)
}
