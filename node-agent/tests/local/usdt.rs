//! USDT probes of a real process, followed by a real program.

use std::{
    fs::{self, File},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use bpfleet_agent::{
    kernel::map,
    usdt::{
        ADDRESSES, Layout, Machine, Plan, SPECS, Specs, UsdtError,
        attach::{How, attach, fill},
        find,
    },
};
use object::ReadCache;
use rstest::rstest;
use tempfile::TempDir;

use crate::support::{
    bench, process,
    process::Answering,
    resolved::Resolved,
    running::{eventually, until_unseen},
};

const PROGRAM: &str = "on_probe";
const COOKIE: u64 = 0x0123_4567_89ab_cdef;
/// BPF_TRACE_UPROBE_MULTI
const UPROBE_MULTI: u32 = 48;

/// A process with probes, and the program for them.
struct Followed {
    _dir: TempDir,
    binary: PathBuf,
    resolved: Resolved,
    specs: Specs,
}

impl Followed {
    fn new(flags: &[&str], cookies: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let binary = process::compile("probes", flags, dir.path());
        let resolved = Resolved::with_cookies(&bench::object("usdt"), &[PROGRAM], cookies);
        let layout = Layout::of_object(&resolved.elf).unwrap();
        let capacity = map::info(resolved.maps()[SPECS]).unwrap();
        assert_eq!(capacity.value_size, layout.size());
        Self {
            _dir: dir,
            binary,
            specs: Specs::new(layout, capacity.max_entries, cookies),
            resolved,
        }
    }

    fn plan(&mut self, probe: &str) -> Result<Plan, UsdtError> {
        let found = probes(&self.binary, "bpfleet", probe)?;
        self.specs.plan(probe, &found, COOKIE)
    }

    fn attach(&mut self, probe: &str, how: How) -> (Plan, Vec<OwnedFd>) {
        let plan = self.plan(probe).unwrap();
        let maps = self.resolved.maps();
        fill(&plan, maps[SPECS], maps.get(ADDRESSES).copied()).unwrap();
        drop(maps);
        if how == How::Multi {
            for row in &mut self.resolved.plan.programs {
                row.expected_attach_type = UPROBE_MULTI;
            }
        }
        let program = self.resolved.load(PROGRAM).unwrap();
        let attached = attach(program.as_fd(), &self.binary, &plan, how).unwrap();
        (plan, attached)
    }

    /// What the program saw last: how often it ran, and the arguments.
    fn seen(&self) -> (u64, Vec<i64>) {
        let counts = self.resolved.counts();
        assert_eq!(counts[2], COOKIE);
        let count = usize::try_from(counts[1]).unwrap();
        let arguments = counts[3..3 + count].iter().map(|value| *value as i64).collect();
        (counts[0], arguments)
    }
}

fn probes(binary: &Path, provider: &str, name: &str) -> Result<Vec<bpfleet_agent::usdt::Probe>, UsdtError> {
    // As the agent does: of a binary only what is needed is read.
    let cache = ReadCache::new(File::open(binary).unwrap());
    find(&cache, Machine::HOST.unwrap(), provider, name)
}

#[rstest]
#[case("registers", &[0x1122_3344_5566_7788, 0x5566_7788, 0x7788, -0x78])]
#[case("constants", &[71, -9])]
#[case("memory", &[10, -20, 0xffff_ffec])]
fn arguments_arrive_as_the_process_has_them(
    #[case] probe: &str,
    #[case] arguments: &[i64],
    #[values(How::Multi, How::Links)] how: How,
    #[values(&["-pie", "-fPIE"], &["-no-pie", "-fno-pie"])] flags: &[&str],
) {
    let mut followed = Followed::new(flags, true);
    let (_, attached) = followed.attach(probe, how);
    let mut process = Answering::start(&followed.binary);
    process.ask();
    assert_eq!(followed.seen(), (1, arguments.to_vec()));
    drop(attached);
    until_unseen(|| drop(process.ask()), || followed.seen());
}

#[rstest]
fn a_probe_in_several_places_has_a_description_for_each_different_list_of_arguments(
    #[values(How::Multi, How::Links)] how: How,
) {
    let mut followed = Followed::new(&[], true);
    let (plan, _attached) = followed.attach("often", how);
    assert_eq!((plan.places.len(), plan.specs.len()), (3, 2));
    Answering::start(&followed.binary).ask();
    assert_eq!(followed.seen(), (3, vec![2]));
}

#[rstest]
fn a_process_passes_a_guarded_probe_only_while_somebody_follows_it(
    #[values(How::Multi, How::Links, How::Events)] how: How,
) {
    let mut followed = Followed::new(&[], true);
    let mut process = Answering::start(&followed.binary);
    assert_eq!(process.ask(), "0");
    let (_, attached) = followed.attach("guarded", how);
    assert_eq!(process.ask(), "1");
    drop(attached);
    eventually("the probe to be passed no longer", || {
        match (process.ask(), process.ask()) {
            (first, second) if first == second => Ok(()),
            (_, passed) => Err(format!("passed {passed} times")),
        }
    });
}

#[test]
fn without_cookies_a_probe_is_known_by_its_address_if_that_is_fixed() {
    let mut followed = Followed::new(&["-no-pie", "-fno-pie"], false);
    let (plan, _attached) = followed.attach("often", How::Events);
    assert_eq!(plan.addresses.len(), 3);
    Answering::start(&followed.binary).ask();
    assert_eq!(followed.seen(), (3, vec![2]));

    let mut movable = Followed::new(&["-pie", "-fPIE"], false);
    assert_eq!(movable.plan("often"), Err(UsdtError::NeedsCookies));
}

#[test]
fn what_cannot_be_followed_is_named() {
    let mut followed = Followed::new(&[], true);
    let missing = followed.plan("missing").unwrap_err().to_string();
    assert!(
        missing.contains("bpfleet:missing") && missing.contains("bpfleet:guarded"),
        "{missing}"
    );
    let odd = followed.plan("odd").unwrap_err().to_string();
    assert!(
        odd.contains("argument 1 of \"8@%xmm0\"") && odd.contains("xmm0"),
        "{odd}"
    );
    let none = probes(Path::new("/proc/self/exe"), "a", "b").unwrap_err();
    assert_eq!(none, UsdtError::NoProbes);
}

#[test]
fn an_argument_addressed_by_two_registers_needs_a_newer_object() {
    let mut followed = Followed::new(&[], true);
    match followed.plan("indexed") {
        // Debian's libbpf-dev is older than 1.7.
        Err(UsdtError::NoIndex(probe)) => assert_eq!(probe, "indexed"),
        Ok(_) => {
            let (_, _attached) = followed.attach("indexed", How::Links);
            Answering::start(&followed.binary).ask();
            assert_eq!(followed.seen(), (1, vec![30, -20]));
        }
        Err(other) => panic!("{other}"),
    }
}

/// Whatever a binary is, reading it ends with an answer.
#[test]
fn a_damaged_binary_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(process::compile("probes", &[], dir.path())).unwrap();
    let machine = Machine::HOST.unwrap();
    assert_eq!(
        find(bytes.as_slice(), machine, "bpfleet", "often").unwrap().len(),
        3
    );
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..5_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=next(4) {
            // Mostly where the headers are, at the begin and the end.
            let at = match next(3) {
                0 => next(1024),
                1 => bytes.len() - 1 - next(4096),
                _ => next(bytes.len()),
            };
            damaged[at] = [0, 1, 0x7f, 0xff, next(256) as u8][next(5)];
        }
        if next(10) == 0 {
            damaged.truncate(next(bytes.len()));
        }
        let _ = find(damaged.as_slice(), machine, "bpfleet", "often");
    }
}
