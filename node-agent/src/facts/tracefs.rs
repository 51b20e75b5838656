//! tracefs: tracepoints, and the functions that ftrace can reach.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{near::Near, refusal};

/// Where it is mounted, newest place first.
const PLACES: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];
/// Most of a tracepoint's format that is read; real ones have up to some 10 KiB.
const MAX_FORMAT: u64 = 256 << 10;
/// Most entries of one directory that are looked at; a kernel has some 150 categories and 2000 tracepoints.
const MAX_ENTRIES: usize = 65_536;

/// A mounted tracefs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    /// The one that is mounted here or below the host's root; what is missing where none is.
    pub fn find(host_root: &Path) -> Result<Self, String> {
        let mut denied = None;
        for base in [Path::new("/"), host_root] {
            for place in PLACES {
                let root = base.join(place);
                match fs::metadata(root.join("available_filter_functions"))
                    .or_else(|_| fs::metadata(root.join("events")))
                {
                    Ok(_) => return Ok(Self { root }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => denied = denied.or(Some(refusal::unreadable(&root, &error))),
                }
            }
        }
        Err(denied.unwrap_or_else(|| {
            "tracefs is not mounted at /sys/kernel/tracing: mount it on the node (mount -t tracefs tracefs \
             /sys/kernel/tracing)"
                .to_owned()
        }))
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the list of functions that ftrace can reach.
    pub fn filter_functions(&self) -> Result<impl BufRead + use<>, String> {
        let path = self.root.join("available_filter_functions");
        File::open(&path)
            .map(BufReader::new)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    "this kernel has no dynamic function tracing (CONFIG_DYNAMIC_FTRACE)".to_owned()
                }
                _ => refusal::unreadable(&path, &error),
            })
    }

    /// The text of a tracepoint's format; none if there is no such tracepoint.
    pub fn format(&self, category: &str, name: &str) -> Result<Option<String>, String> {
        if !is_name(category) || !is_name(name) {
            return Ok(None);
        }
        let path = self.root.join("events").join(category).join(name).join("format");
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_FORMAT).read_to_end(&mut text)) {
            Ok(_) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refusal::unreadable(&path, &error)),
        }
    }

    /// Categories that have a tracepoint of this name, sorted.
    pub fn categories_with(&self, name: &str) -> Result<Vec<String>, String> {
        if !is_name(name) {
            return Ok(Vec::new());
        }
        let mut categories = directories(&self.root.join("events"))?;
        categories.retain(|category| {
            self.root
                .join("events")
                .join(category)
                .join(name)
                .join("format")
                .exists()
        });
        Ok(categories)
    }

    /// Tracepoints whose name comes close, as `category/name`: first those of this name elsewhere.
    pub fn near(&self, category: &str, name: &str) -> Vec<String> {
        let mut near = Near::new(&format!("{category}/{name}"));
        let mut elsewhere = Vec::new();
        self.each(|known, event| {
            let whole = format!("{known}/{event}");
            near.offer(&whole);
            if event == name {
                elsewhere.push(whole);
            }
        });
        if elsewhere.is_empty() {
            near.names()
        } else {
            elsewhere
        }
    }

    /// Tracepoints of whatever category whose name comes close, as `name`.
    pub fn near_name(&self, name: &str) -> Vec<String> {
        let mut near = Near::new(name);
        self.each(|_, event| near.offer(event));
        near.names()
    }

    fn each(&self, mut look: impl FnMut(&str, &str)) {
        let events = self.root.join("events");
        for category in directories(&events).unwrap_or_default() {
            for event in directories(&events.join(&category)).unwrap_or_default() {
                look(&category, &event);
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

fn directories(path: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(path).map_err(|error| refusal::unreadable(path, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .take(MAX_ENTRIES)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Names of the fields in a tracepoint's format: those of every event, `common_…`, and its own, in order. What is no
/// field is passed over.
pub fn fields(format: &str) -> Vec<&str> {
    format
        .lines()
        .filter_map(|line| {
            // `	field:char comm[16];	offset:8;	size:16;	signed:0;`
            let (declaration, rest) = line.trim_start().strip_prefix("field:")?.split_once(';')?;
            if !rest.trim_start().starts_with("offset:") {
                return None;
            }
            // An array may stand before its name as well: `__data_loc char[] name`.
            let last = declaration.trim_end().rsplit([' ', '\t', '*']).next()?;
            let name = last.split('[').next()?;
            (!name.is_empty()).then_some(name)
        })
        .collect()
}

/// What a tracepoint lacks; none if it has all these fields.
pub fn missing_fields(format: &str, wanted: &[String]) -> Option<String> {
    let known = fields(format);
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|field| !known.contains(&field.as_str()))
        .collect();
    let own: Vec<&str> = known
        .into_iter()
        .filter(|field| !field.starts_with("common_"))
        .collect();
    match missing.as_slice() {
        [] => None,
        [field] => Some(format!(
            "it has no field {field}; its fields are {}",
            own.join(", ")
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|field| field.as_str()).collect();
            Some(format!(
                "it has none of the fields {}; its fields are {}",
                names.join(", "),
                own.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const EXEC: &str = "\
name: sched_process_exec
ID: 301
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:0;
\tfield:const char * name;\toffset:32;\tsize:8;\tsigned:0;
\tfield:struct page *page;\toffset:40;\tsize:8;\tsigned:0;
\tfield:unsigned long args[6];\toffset:48;\tsize:48;\tsigned:0;

print fmt: \"filename=%s pid=%d field:x;\", __get_str(filename), REC->pid
";

    #[test]
    fn fields_are_read_whatever_their_declaration() {
        assert_eq!(
            fields(EXEC),
            [
                "common_type",
                "common_pid",
                "filename",
                "pid",
                "comm",
                "name",
                "page",
                "args"
            ]
        );
        for damaged in [
            "",
            "field:",
            "field:;",
            "\tfield:int x\n",
            "field:[4];\toffset:0",
            "\0\u{ffff}",
        ] {
            assert!(fields(damaged).is_empty(), "{damaged:?}");
        }
    }

    #[test]
    fn a_missing_field_is_named_with_those_that_there_are() {
        let wanted = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            missing_fields(EXEC, &names)
        };
        assert_eq!(wanted(&[]), None);
        assert_eq!(wanted(&["pid", "common_pid"]), None);
        assert_eq!(
            wanted(&["pid", "old_pid"]).unwrap(),
            "it has no field old_pid; its fields are filename, pid, comm, name, page, args"
        );
        assert!(wanted(&["a", "b"]).unwrap().contains("none of the fields a, b"));
    }

    /// A tree that looks like tracefs below a host's root.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for event in [
            "sched/sched_switch",
            "sched/sched_process_exec",
            "syscalls/sys_enter_openat",
        ] {
            let directory = root.path().join("sys/kernel/tracing/events").join(event);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("format"), EXEC).unwrap();
        }
        root
    }

    #[test]
    fn tracepoints_are_found_and_close_names_offered() {
        let root = tree();
        let tracefs = Tracefs {
            root: root.path().join("sys/kernel/tracing"),
        };
        assert!(tracefs.format("sched", "sched_switch").unwrap().is_some());
        assert_eq!(tracefs.format("sched", "no_such").unwrap(), None);
        assert_eq!(tracefs.format("..", "events").unwrap(), None);
        assert_eq!(tracefs.categories_with("sched_switch").unwrap(), ["sched"]);
        assert_eq!(tracefs.near("sched", "sched_swich"), ["sched/sched_switch"]);
        assert_eq!(tracefs.near("task", "sched_switch"), ["sched/sched_switch"]);
        assert!(tracefs.near("a", "b").is_empty());
        assert_eq!(tracefs.near_name("sched_swich"), ["sched_switch"]);
        // Never follows a way out of the tree by name.
        symlink("/etc", root.path().join("sys/kernel/tracing/events/out")).unwrap();
        assert_eq!(tracefs.format("out/..", "x").unwrap(), None);
    }

    #[test]
    fn a_host_below_a_root_counts_where_this_container_has_no_tracefs() {
        let root = tree();
        let found = Tracefs::find(root.path()).unwrap();
        assert!(found.root().ends_with("tracing"));
        let empty = tempfile::tempdir().unwrap();
        if let Err(why) = Tracefs::find(empty.path()) {
            assert!(why.contains("tracefs"), "{why}");
        }
    }
}
