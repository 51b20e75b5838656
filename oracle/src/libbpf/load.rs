//! Which programs the running kernel accepts.

use std::path::Path;

use super::error::Error;
use super::object::{Object, Program};

/// How much of the verifier's log an error keeps, from its end.
const TAIL: usize = 16 << 10;

/// A program's name, and whether it could be loaded.
pub type Loaded = (String, Result<(), Error>);

/// Loads each program of an object alone, with all maps (`bpf_object__load`), and out again; says of each
/// whether libbpf and the running kernel accept it. `adjust` may change what is about
/// to be loaded. Needs root.
///
/// # Errors
/// If libbpf does not open the object, or `adjust` fails.
pub fn load_each(
    object: &[u8],
    btf_path: Option<&Path>,
    adjust: impl FnMut(&mut Object) -> Result<(), Error>,
) -> Result<Vec<Loaded>, Error> {
    each(object, btf_path, adjust, |_, program, _, loaded| {
        (program.name.clone(), loaded)
    })
}

/// What became of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The program.
    pub program: Program,
    /// Whether it could be loaded.
    pub loaded: Result<(), Error>,
    /// Whether it could be attached, if it was loaded.
    pub attached: Option<Result<(), Error>>,
}

/// The same, and attaches each program that could be loaded, by `attach`: [`Object::attach`] does so where its section
/// says.
///
/// # Errors
/// As [`load_each`].
pub fn attach_each(
    object: &[u8],
    btf_path: Option<&Path>,
    adjust: impl FnMut(&mut Object) -> Result<(), Error>,
    attach: impl Fn(&Object, &Program, usize) -> Result<(), Error>,
) -> Result<Vec<Tried>, Error> {
    each(object, btf_path, adjust, |object, program, at, loaded| Tried {
        program: program.clone(),
        attached: loaded
            .is_ok()
            .then(|| attach(object, program, at).map_err(shorten)),
        loaded,
    })
}

fn each<T>(
    object: &[u8],
    btf_path: Option<&Path>,
    mut adjust: impl FnMut(&mut Object) -> Result<(), Error>,
    result: impl Fn(&Object, &Program, usize, Result<(), Error>) -> T,
) -> Result<Vec<T>, Error> {
    let programs = Object::open(object, btf_path)?.programs();
    let mut results = Vec::new();
    for (at, program) in programs.iter().enumerate() {
        // An object can be loaded only once.
        let mut object = Object::open(object, btf_path)?;
        for other in 0..programs.len() {
            object.set_autoload(other, other == at)?;
        }
        adjust(&mut object)?;
        let loaded = object.load().map_err(shorten);
        results.push(result(&object, program, at, loaded));
    }
    Ok(results)
}

fn shorten(mut error: Error) -> Error {
    if let Some(excess) = error.log.len().checked_sub(TAIL) {
        let start = (excess..error.log.len()).find(|at| error.log.is_char_boundary(*at));
        error.log.drain(..start.unwrap_or(0));
    }
    error
}
