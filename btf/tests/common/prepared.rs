//! Objects as they are relocated whole: by us, and by libbpf's prepare.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bpf_oracle::libbpf;
use btf::co_re::{Relocator, Targets, patch};
use btf::{Btf, Endian, RelocationInfo};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, SectionKind};

const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const TYPE_ID_TARGET: u32 = 7;

/// An object, ready to be relocated in whole.
pub struct Whole {
    /// With every undefined symbol weak, for libbpf.
    bytes: Vec<u8>,
    btf: Vec<u8>,
    /// With the sections as they are called without `?`.
    relocations: Vec<(String, RelocationInfo)>,
    code: BTreeMap<String, Vec<u8>>,
    /// Instructions whose operands are maps, functions and externs: where they begin in each section.
    linked: BTreeSet<(String, u64)>,
}

/// The code of each section after our relocations, or why an instruction was refused.
pub type Relocated = Result<BTreeMap<String, Vec<u8>>, String>;

fn plain(section: &str) -> String {
    section.trim_start_matches('?').to_owned()
}

impl Whole {
    /// `None` if it has no CO-RE relocations.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let parts = super::take_apart(bytes)?;
        let file = ElfFile64::<object::Endianness>::parse(bytes).unwrap();
        let (mut code, mut linked) = (BTreeMap::new(), BTreeSet::new());
        for section in file.sections() {
            if section.kind() != SectionKind::Text {
                continue;
            }
            let name = plain(section.name().unwrap());
            linked.extend(section.relocations().map(|(at, _)| (name.clone(), at)));
            code.insert(name, section.data().unwrap().to_vec());
        }
        let relocations = parts.relocations.iter().map(|(section, r)| (plain(section), *r));
        Some(Whole {
            bytes: libbpf::weaken(bytes).unwrap(),
            relocations: relocations.collect(),
            btf: parts.btf,
            code,
            linked,
        })
    }

    /// All its relocations, written by us.
    pub fn relocated(&self, kernel: &Btf<'_>) -> Relocated {
        let local = Btf::parse(self.btf.as_slice()).unwrap();
        let mut relocator = Relocator::new(&local, Targets::kernel(kernel));
        let mut code = self.code.clone();
        for (section, relocation) in &self.relocations {
            let outcome = relocator.relocate(relocation).map_err(|e| e.to_string())?;
            let code = code.get_mut(section).unwrap();
            let at = relocation.instruction_offset as usize;
            patch(code, at, Endian::HOST, &outcome).map_err(|e| e.to_string())?;
        }
        Ok(code)
    }

    /// Compares ours with what libbpf prepares; gives how many instructions were compared, `None` if both
    /// refuse the object.
    pub fn compare(&self, what: &str, ours: &Relocated, kernel: &Path) -> Option<usize> {
        let programs = match (libbpf::prepare(&self.bytes, Some(kernel)), ours) {
            (Ok(programs), Ok(_)) => programs,
            (Err(error), Err(_)) => {
                assert!(error.log.contains("relo #"), "{what}: {error}");
                return None;
            }
            (Ok(_), Err(refused)) => panic!("{what}: {refused}, and libbpf does not refuse it"),
            (Err(error), Ok(_)) => panic!("{what}: {error}"),
        };
        let ours = ours.as_ref().unwrap();
        let mut compared = 0;
        for program in &programs {
            let own = &program.insns[..program.own];
            compared += self.same(what, ours, &program.section, program.section_offset, own);
            let ends = program
                .subprograms
                .iter()
                .skip(1)
                .map(|s| s.start)
                .chain([program.insns.len()]);
            for (function, end) in program.subprograms.iter().zip(ends) {
                let insns = &program.insns[function.start..end];
                compared += self.same(what, ours, ".text", function.section_offset, insns);
            }
        }
        assert!(compared > 0 || programs.is_empty(), "{what}");
        Some(compared)
    }

    fn same(
        &self,
        what: &str,
        ours: &BTreeMap<String, Vec<u8>>,
        section: &str,
        start: u64,
        theirs: &[libbpf::Insn],
    ) -> usize {
        let code = &ours[section][start as usize..];
        let (ours, _) = code.as_chunks::<8>();
        assert!(ours.len() >= theirs.len(), "{what}: {section} ends early");
        let original = &self.code[section][start as usize..];
        let mut compared = 0;
        let mut linked = false;
        for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let at = start + index as u64 * 8;
            // The second half of one, too.
            linked = self.linked.contains(&(section.to_owned(), at))
                || linked && original[index * 8] == 0 && original[index * 8 - 8] == LD_IMM64;
            if linked {
                continue;
            }
            let (mut ours, mut theirs) = (*ours, *theirs);
            // Of a call within the section where it goes to.
            if ours[0] == CALL && ours[1] >> 4 == 1 {
                ours[4..].fill(0);
                theirs[4..].fill(0);
            }
            assert_eq!(ours, theirs, "{what}: {section}+{at}");
            compared += 1;
        }
        compared
    }

    /// Ours from a minimized BTF are ours from the whole, but for ids of types.
    pub fn same_but_ids(&self, what: &str, full: &Relocated, small: &Relocated) {
        let (Ok(full), Ok(small)) = (full, small) else {
            assert_eq!(full.is_err(), small.is_err(), "{what}");
            return;
        };
        let mut full = full.clone();
        for (section, r) in self.relocations.iter().filter(|(_, r)| r.kind == TYPE_ID_TARGET) {
            let at = r.instruction_offset as usize;
            let to = full.get_mut(section).unwrap();
            let slots = if to[at] == LD_IMM64 { 16 } else { 8 };
            to[at..at + slots].copy_from_slice(&small[section][at..at + slots]);
        }
        assert!(
            full == *small,
            "{what}: the code from the whole and from the minimized BTF differs"
        );
    }
}
