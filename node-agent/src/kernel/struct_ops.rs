//! Tables of kernel operations (`struct_ops`): a map with one value, in which members are programs.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use bpf_object::StructOpsPlan;
use thiserror::Error;

use super::{btf, link, map, map::MapCreate, probe_map::an_integer};

const BPF_MAP_TYPE_STRUCT_OPS: u32 = 26;
/// `BPF_F_LINK` (6.4) and `BPF_F_VTYPE_BTF_OBJ_FD` (6.9) of include/uapi/linux/bpf.h.
const BPF_F_LINK: u32 = 1 << 13;
const BPF_F_VTYPE_BTF_OBJ_FD: u32 = 1 << 15;

/// A table is not registered.
#[derive(Debug, Error)]
pub enum StructOpsError {
    /// The module that has its type is not there.
    #[error(
        "table {table} is of a type of kernel module {module}, whose BTF cannot be had ({error}); load the module"
    )]
    Module {
        /// The table.
        table: String,
        /// The module.
        module: String,
        /// Why.
        error: io::Error,
    },
    /// A program is not loaded. This is a defect of bpfleet.
    #[error("table {table} holds program {program}, which is not loaded")]
    NoProgram {
        /// The table.
        table: String,
        /// The program.
        program: String,
    },
    /// The kernel refuses it.
    #[error("the kernel refuses to {what} table {table}: {error}")]
    Refused {
        /// The table.
        table: String,
        /// What was asked of it.
        what: &'static str,
        /// Its error number.
        error: io::Error,
    },
}

/// Makes the map of a table (5.6; in a module 6.9; for a link 6.4). Nothing is registered yet.
pub fn create(table: &StructOpsPlan) -> Result<OwnedFd, StructOpsError> {
    let refused = |error| refused(table, "make", error);
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no such module is loaded");
    let module = match &table.value_type.module {
        None => None,
        Some(module) => Some(
            btf::by_name(module)
                .and_then(|fd| fd.ok_or_else(missing))
                .map_err(|error| StructOpsError::Module {
                    table: table.name.clone(),
                    module: module.clone(),
                    error,
                })?,
        ),
    };
    // The kernel wants BTF of the object, and looks at nothing in it (map_create, kernel/bpf/syscall.c).
    let btf = an_integer().map_err(refused)?;
    let create = MapCreate {
        map_type: BPF_MAP_TYPE_STRUCT_OPS,
        name: &table.name,
        key_size: 4,
        value_size: u32::try_from(table.value.len()).map_err(|error| refused(io::Error::other(error)))?,
        max_entries: 1,
        flags: if table.link { BPF_F_LINK } else { 0 }
            | if module.is_some() {
                BPF_F_VTYPE_BTF_OBJ_FD
            } else {
                0
            },
        btf: Some(btf.as_fd()),
        btf_vmlinux_value_type_id: table.value_type.type_id,
        value_type_module: module.as_ref().map(AsFd::as_fd),
        ..MapCreate::default()
    };
    create.create().map_err(refused)
}

/// Writes the table and registers it. With a link it is there as long as that is, and the link is returned; without,
/// until the map has neither descriptor nor pin, or its only entry is deleted.
pub fn register(
    map: BorrowedFd<'_>,
    table: &StructOpsPlan,
    programs: &BTreeMap<String, OwnedFd>,
) -> Result<Option<OwnedFd>, StructOpsError> {
    let value = fill(table, programs)?;
    map::update(map, &[0; 4], &value).map_err(|error| refused(table, "take the functions of", error))?;
    if !table.link {
        return Ok(None);
    }
    link::struct_ops(map)
        .map(Some)
        .map_err(|error| refused(table, "register", error))
}

/// The value with the programs' descriptors in it.
fn fill(table: &StructOpsPlan, programs: &BTreeMap<String, OwnedFd>) -> Result<Vec<u8>, StructOpsError> {
    let mut value = table.value.clone();
    for (offset, program) in &table.functions {
        let missing = || StructOpsError::NoProgram {
            table: table.name.clone(),
            program: program.clone(),
        };
        let fd =
            u64::try_from(programs.get(program).ok_or_else(missing)?.as_raw_fd()).map_err(|_| missing())?;
        let place = usize::try_from(*offset)
            .ok()
            .and_then(|offset| value.get_mut(offset..)?.first_chunk_mut());
        *place.ok_or_else(missing)? = fd.to_ne_bytes();
    }
    Ok(value)
}

fn refused(table: &StructOpsPlan, what: &'static str, error: io::Error) -> StructOpsError {
    StructOpsError::Refused {
        table: table.name.clone(),
        what,
        error,
    }
}

#[cfg(test)]
mod tests {
    use bpf_object::AttachBtf;

    use super::*;

    fn table(functions: &[(u32, &str)]) -> StructOpsPlan {
        StructOpsPlan {
            name: "t".to_owned(),
            link: true,
            value_type: AttachBtf {
                type_id: 1,
                module: None,
                name: "bpf_struct_ops_t".to_owned(),
            },
            value: vec![7; 24],
            functions: functions
                .iter()
                .map(|(at, name)| (*at, (*name).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn descriptors_stand_where_functions_go() {
        let program: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let raw = u8::try_from(program.as_raw_fd()).unwrap();
        let programs = BTreeMap::from([("p".to_owned(), program)]);
        let value = fill(&table(&[(8, "p")]), &programs).unwrap();
        assert_eq!(value, [[7; 8], [raw, 0, 0, 0, 0, 0, 0, 0], [7; 8]].concat());
        for wrong in [(17, "p"), (0, "q")] {
            let error = fill(&table(&[wrong]), &programs).unwrap_err();
            assert!(matches!(error, StructOpsError::NoProgram { .. }));
        }
    }

    #[test]
    fn a_type_that_is_no_table_is_refused_by_the_kernel() {
        let error = create(&table(&[])).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the kernel refuses to make table t: "),
            "{error}"
        );
    }
}
