//! What the kernel holds, by id.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use aya::{
    maps::{Array, Map, MapData, MapInfo, loaded_maps},
    programs::{loaded_links, loaded_programs},
};
use bpfleet_agent::{
    pins::{self, watched::WATCHED},
    record::Instance,
};

use super::running::eventually;

/// Programs, links and maps, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    pub programs: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
    pub maps: BTreeSet<u32>,
    /// Names of attachments without a link, by their paths.
    pub records: BTreeSet<PathBuf>,
}

impl Made {
    /// Everything that is pinned below a pin root, with the links of its programs that are not.
    pub fn below(root: &Path) -> Self {
        let mut made = Self::default();
        for path in files(root) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let parent = path
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let dir = path.is_dir();
            match (parent.as_str(), Instance::parse(&name)) {
                (_, Some(_)) if dir => drop(made.records.insert(path.clone())),
                ("maps", _) => drop(made.maps.insert(MapInfo::from_pin(&path).unwrap().id())),
                ("programs", _) => drop(made.programs.insert(pins::program_id(&path).unwrap())),
                (_, Some(_)) => drop(made.links.insert(pins::link(&path).unwrap().id)),
                ("iters", _) => {}
                _ if name == "program" || name == WATCHED => {}
                other => panic!("what is {}: {other:?}?", path.display()),
            }
        }
        for link in loaded_links()
            .flatten()
            .filter(|link| made.programs.contains(&link.program_id()))
        {
            made.links.insert(link.id());
        }
        made
    }

    /// Waits until the kernel holds nothing of it: it frees programs and links some time after their last use.
    pub fn assert_gone(&self) {
        eventually("programs, links and maps to go", || {
            let programs: BTreeSet<u32> = loaded_programs().flatten().map(|program| program.id()).collect();
            let links: BTreeSet<u32> = loaded_links().flatten().map(|link| link.id()).collect();
            let maps: BTreeSet<u32> = loaded_maps().flatten().map(|map| map.id()).collect();
            let left = Self {
                programs: self.programs.intersection(&programs).copied().collect(),
                links: self.links.intersection(&links).copied().collect(),
                maps: self.maps.intersection(&maps).copied().collect(),
                records: BTreeSet::new(),
            };
            if left == Self::default() {
                Ok(())
            } else {
                Err(format!("still there: {left:?}"))
            }
        });
    }
}

/// The links that the kernel has for these programs, by program.
pub fn links_of(programs: &BTreeSet<u32>) -> BTreeMap<u32, u32> {
    let mut count = BTreeMap::new();
    for link in loaded_links()
        .flatten()
        .filter(|link| programs.contains(&link.program_id()))
    {
        *count.entry(link.program_id()).or_default() += 1;
    }
    count
}

/// Every file below a directory, and every directory whose name is a record.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(root) else {
        return found;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // The kernel's own files in every bpffs.
        if name.ends_with(".debug") {
            continue;
        }
        let record = Instance::parse(name).is_some();
        if path.is_dir() {
            found.extend(files(&path));
        }
        if record || !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A map of counters.
pub fn counts(path: &Path) -> Vec<u64> {
    let data = MapData::from_pin(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let array: Array<_, u64> = Map::Array(data).try_into().unwrap();
    array.iter().collect::<Result<_, _>>().unwrap()
}
