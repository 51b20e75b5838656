use super::*;

const ONE: Function = Function { id: 7, registers: 1 };

fn seen(places: &[&str]) -> Seen {
    let places: Vec<Place> = places
        .iter()
        .map(|place| match *place {
            "" => Place::Kernel,
            module => Place::Module(module.to_owned()),
        })
        .collect();
    Seen {
        functions: Ok(places.clone()),
        parts: Vec::new(),
        other: false,
        near: Vec::new(),
        module: None,
        reachable: Ok(places),
    }
}

fn function(name: &str) -> KernelFunction {
    name.parse().unwrap()
}

/// All three ways, with everything else as it should be.
fn all(name: &str, seen: &Seen) -> [Answer; 3] {
    [
        kprobe(&function(name), seen, |_| Ok(())),
        fentry(&function(name), seen, |_| Ok(vec![ONE]), |_, _| Ok(())),
        multi(&function(name), seen),
    ]
}

fn why(answer: &Answer) -> String {
    match answer {
        Answer::No(why) => why.clone(),
        other => panic!("{other:?} is not No"),
    }
}

#[test]
fn one_function_can_be_attached_to_in_every_way() {
    assert_eq!(all("f", &seen(&[""])), [Answer::Yes, Answer::Yes, Answer::Yes]);
    let module = Seen {
        module: Some(ModuleState::Loaded),
        ..seen(&["", "m"])
    };
    assert_eq!(all("m:f", &module), [Answer::Yes, Answer::Yes, Answer::Yes]);
    // Without its module, if only one has it.
    assert_eq!(all("f", &seen(&["m"])), [Answer::Yes, Answer::Yes, Answer::Yes]);
}

#[test]
fn a_function_that_cannot_be_told_from_others_is_refused_in_every_way() {
    for (name, state, expected) in [
        (
            "f",
            seen(&["", ""]),
            "2 functions have this name (2 in the kernel itself)",
        ),
        (
            "f",
            seen(&["", "m", ""]),
            "(2 in the kernel itself, 1 in module m), and which one is meant cannot be said; the one of a module is \
             written m:f",
        ),
        (
            "m:f",
            seen(&["m", "m", ""]),
            "2 functions have this name (2 in module m)",
        ),
    ] {
        for answer in all(name, &state) {
            assert!(why(&answer).contains(expected), "{answer:?}");
        }
    }
}

#[test]
fn a_function_that_is_not_there_says_what_there_is_instead() {
    let none = seen(&[]);
    for (name, state, expected) in [
        ("do_x", none.clone(), "this kernel has no function do_x"),
        (
            "do_unlinkatt",
            Seen {
                near: vec!["do_unlinkat".to_owned()],
                ..none.clone()
            },
            "this kernel has no function do_unlinkatt; did you mean do_unlinkat?",
        ),
        (
            "do_x",
            Seen {
                parts: vec!["do_x.isra.0".to_owned()],
                near: vec!["do_y".to_owned()],
                ..none.clone()
            },
            "the compiler left only do_x.isra.0 of it",
        ),
        (
            "jiffies",
            Seen {
                other: true,
                ..none.clone()
            },
            "jiffies is no function but a variable",
        ),
        (
            "m:do_x",
            Seen {
                module: Some(ModuleState::Missing),
                ..seen(&[""])
            },
            "module m is not loaded",
        ),
        (
            "m:do_x",
            Seen {
                module: Some(ModuleState::BuiltIn),
                ..seen(&[""])
            },
            "m is built into this kernel; write do_x without it",
        ),
        (
            "m:do_x",
            Seen {
                module: Some(ModuleState::Loaded),
                ..seen(&["n"])
            },
            "module m has no function do_x; module n has one",
        ),
    ] {
        for answer in all(name, &state) {
            assert!(why(&answer).contains(expected), "{answer:?}");
        }
    }
}

#[test]
fn the_kernels_own_word_decides_for_a_kprobe() {
    for (errno, expected) in [
        (libc::ENOENT, "finds no such function"),
        (libc::EADDRNOTAVAIL, "several functions"),
        (libc::EINVAL, "blacklist"),
    ] {
        let answer = kprobe(&function("f"), &seen(&[""]), |_| Err(errno));
        assert!(why(&answer).contains(expected), "{answer:?}");
    }
    for errno in [libc::EPERM, libc::EACCES, libc::EBUSY] {
        let answer = kprobe(&function("f"), &seen(&[""]), |_| Err(errno));
        assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    }
    // Where names cannot be read, it is tried all the same.
    let hidden = Seen {
        functions: Err("no".to_owned()),
        ..seen(&[])
    };
    assert_eq!(kprobe(&function("f"), &hidden, |_| Ok(())), Answer::Yes);
    let mut tried = String::new();
    let loaded = Seen {
        module: Some(ModuleState::Loaded),
        ..seen(&["m"])
    };
    kprobe(&function("m:f"), &loaded, |name| {
        tried = name.to_owned();
        Ok(())
    });
    assert_eq!(tried, "m:f");
}

#[test]
fn fentry_wants_btf_ftrace_and_a_load() {
    let refused = |errno, log: &str| Refused {
        errno,
        log: log.to_owned(),
    };
    let go = |ids: Vec<Function>, reachable: Reachable, load: Result<(), Refused>| {
        let seen = Seen {
            reachable,
            ..seen(&[""])
        };
        fentry(&function("f"), &seen, |_| Ok(ids), |_, _| load)
    };
    let here = || Ok(vec![Place::Kernel]);
    assert_eq!(go(vec![ONE], here(), Ok(())), Answer::Yes);
    assert!(why(&go(vec![], here(), Ok(()))).contains("does not describe f"));
    assert!(why(&go(vec![ONE, ONE], here(), Ok(()))).contains("has 2 functions f"));
    // A load alone takes functions that attaching refuses.
    assert!(why(&go(vec![ONE], Ok(vec![]), Ok(()))).contains("ftrace cannot reach f"));
    assert!(why(&go(vec![ONE], Ok(vec![Place::Kernel; 2]), Ok(()))).contains("2 times"));
    let log = "func 'f' arg5 type STRUCT is not supported\n";
    assert!(why(&go(vec![ONE], here(), Err(refused(libc::EINVAL, log)))).contains("arg5"));
    // Not known is not No, but a certain No is not hidden by it.
    let without = || Err("tracefs is not mounted".to_owned());
    assert_eq!(
        go(vec![ONE], without(), Ok(())),
        Answer::Unknown("tracefs is not mounted".to_owned())
    );
    assert!(why(&go(vec![ONE], without(), Err(refused(libc::EINVAL, log)))).contains("arg5"));
    let answer = go(vec![ONE], here(), Err(refused(libc::EPERM, "")));
    assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    let answer = fentry(
        &function("f"),
        &seen(&[""]),
        |_| Err(Answer::No("no BTF".to_owned())),
        |_, _| Ok(()),
    );
    assert_eq!(answer, Answer::No("no BTF".to_owned()));
}

#[test]
fn kprobe_multi_goes_by_ftrace_alone_and_is_unknown_without_it() {
    let with = |reachable: Reachable| {
        multi(
            &function("f"),
            &Seen {
                reachable,
                ..seen(&[""])
            },
        )
    };
    assert_eq!(with(Ok(vec![Place::Kernel])), Answer::Yes);
    assert!(why(&with(Ok(vec![]))).contains("ftrace cannot reach f"));
    assert_eq!(with(Err("why".to_owned())), Answer::Unknown("why".to_owned()));
}
