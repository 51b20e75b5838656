//! Exception callbacks (`__exception_cb(NAME)`): functions that no instruction refers to, and that the
//! kernel wants behind the program. aya puts there what is called, and nothing else.

use std::collections::BTreeSet;

use btf::{Btf, Kind};

use crate::resolve::error::ResolveError;
use crate::resolve::select::Selection;

/// What the tag on such a program begins with, before the callback's name.
const TAG: &str = "exception_callback:";

/// Refuses programs with a callback of their own, which the kernel would refuse with less to say.
pub(crate) fn check(btf: &Btf<'_>, selection: &Selection<'_>) -> Result<(), ResolveError> {
    let chosen: BTreeSet<&str> = selection
        .programs
        .iter()
        .map(|chosen| chosen.program.name.as_str())
        .collect();
    for tag in btf.types().filter(|t| t.kind() == Kind::DeclTag) {
        let Some(callback) = tag.name().strip_prefix(TAG) else {
            continue;
        };
        let function = tag.target().and_then(|id| btf.get(id));
        let program = function.filter(|f| f.kind() == Kind::Func && chosen.contains(f.name()));
        if let Some(program) = program {
            return Err(ResolveError::Unsupported {
                program: program.name().to_owned(),
                what: format!("the exception callback {callback}"),
                advice: "leave out __exception_cb: without it bpf_throw ends the program with the value that \
                         it is given",
            });
        }
    }
    Ok(())
}
