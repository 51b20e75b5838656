//! What guests are and can do, and how their failure is told apart from that of a test.

use std::time::{Duration, Instant};

use bpfleet_e2e::scratch::Scratch;
use bpfleet_e2e::vm::{self, Ended, GuestOptions, Kernel, Machine};
use bpfleet_e2e::{Error, Result, wait};

const SOON: Duration = Duration::from_secs(60);

fn kernel(name: &str) -> Kernel {
    vm::ensure(&[vm::find(name).unwrap()]).unwrap().remove(0)
}

fn boot(scratch: &Scratch, kernel: &Kernel, options: &GuestOptions) -> Result<Machine> {
    let dir = scratch.dir("vm").unwrap();
    Machine::boot("test", kernel, options, &dir, scratch.path())
}

/// The console that an error names, which is there after the guest's directory has gone. Removes it.
fn kept_console(error: &Error) -> String {
    let said = error.to_string();
    let rest = said.split("the end of its console ").nth(1).unwrap();
    let path = rest.split(":\n").next().unwrap();
    let console = std::fs::read_to_string(path).unwrap();
    std::fs::remove_file(path).unwrap();
    console
}

#[test]
fn a_kernel_that_does_not_come_up_is_no_failure_of_what_is_tested() {
    let scratch = Scratch::new("vm").unwrap();
    let options = GuestOptions {
        kernel_args: vec!["rdinit=/nowhere".into()],
        ..GuestOptions::default()
    };
    let started = Instant::now();
    let error = boot(&scratch, &kernel("v5-10"), &options).map(drop).unwrap_err();
    assert!(matches!(error, Error::Infrastructure { .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.starts_with("infrastructure: guest test (kernel 5.10."),
        "{said}"
    );
    assert!(said.contains("Kernel panic - not syncing"), "{said}");
    // A panic ends it, and not the time it has for booting.
    assert!(
        started.elapsed() < options.boot_timeout,
        "{:?}",
        started.elapsed()
    );
    let console = kept_console(&error);
    assert!(console.contains("Linux version 5.10."), "{console}");
}

#[test]
fn a_guest_runs_commands_and_its_loss_is_no_failure_of_what_is_tested() {
    let scratch = Scratch::new("vm").unwrap();
    let options = GuestOptions {
        hide_btf: true,
        cpus: 2,
        ..GuestOptions::default()
    };
    let kernel = kernel("v6-1");
    let machine = boot(&scratch, &kernel, &options).unwrap();
    assert_eq!(machine.release(), kernel.release);

    let output = machine
        .run(&["sh", "-c", "echo out; echo err >&2; exit 3"])
        .unwrap();
    let said = (output.ended, &*output.stdout, &*output.stderr);
    assert_eq!(said, (Ended::Code(3), &b"out\n"[..], &b"err\n"[..]));
    let late = machine.run_for(&["sleep", "1000"], &[], Duration::from_millis(200));
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    let unknown = machine.run(&["no-such-command"]).unwrap_err();
    assert!(unknown.to_string().contains("no-such-command"), "{unknown}");

    let content = vec![7; 3 << 20];
    machine.write_file("/tmp/a/b", 0o640, &content).unwrap();
    assert_eq!(machine.read_file("/tmp/a/b").unwrap(), content);
    assert_eq!(machine.sh("stat -c %a /tmp/a/b; nproc").unwrap(), "640\n2\n");

    // BTF is hidden from programs, and the kernel has it all the same.
    assert_eq!(machine.sh("ls /sys/kernel/btf").unwrap(), "");
    assert!(
        !machine
            .sh("bpftool btf dump id 1 | head -c 100")
            .unwrap()
            .is_empty()
    );
    machine
        .sh("modprobe nf_conntrack; modprobe veth; modprobe null_blk")
        .unwrap();
    machine.unlink(100).unwrap();
    machine.block_io(10).unwrap();

    let pid = machine
        .spawn(
            &["sh", "-c", "echo $WORD; exec sleep 1000"],
            &[("WORD", "begun")],
            "/dev/ttyS1",
        )
        .unwrap();
    wait::until("the serial line", SOON, || {
        let log = std::fs::read_to_string(machine.serial()).unwrap_or_default();
        if log.contains("begun") { Ok(()) } else { Err(log) }
    })
    .unwrap();
    assert_eq!(machine.status(pid).unwrap(), None);
    machine.signal(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    wait::until("its end", SOON, || match machine.status(pid).unwrap() {
        Some(Ended::Signal(15)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .unwrap();

    machine.process().kill().unwrap();
    let error = machine.run(&["true"]).unwrap_err();
    assert!(kept_console(&error).contains("Linux version 6.1."));
    assert!(
        error
            .to_string()
            .starts_with("infrastructure: guest test (kernel 6.1."),
        "{error}"
    );
}
