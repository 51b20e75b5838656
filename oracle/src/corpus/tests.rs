use super::*;

#[test]
fn a_kernels_name_says_release_and_architecture() {
    for (name, release, arch) in [
        ("bookworm-6.1.0-40-cloud-amd64", "6.1.0-40-cloud-amd64", "amd64"),
        (
            "trixie-backports-7.3.4+deb13-rt-arm64",
            "7.3.4+deb13-rt-arm64",
            "arm64",
        ),
    ] {
        assert_eq!(parse(name), Some((release.into(), arch.into())));
    }
    assert_eq!(parse("bookworm"), None);
}

#[test]
fn the_corpus_has_objects_and_kernels_of_many_versions_with_modules_and_both_architectures() {
    let corpus = ensure().unwrap();
    assert!(corpus.objects.len() >= 55, "{:?}", corpus.objects);
    for set in ["bookworm", "trixie"] {
        let names: Vec<_> = corpus
            .objects
            .iter()
            .filter(|o| o.set == set)
            .map(|o| o.name.as_str())
            .collect();
        assert!(
            names.len() >= 50 && names.contains(&"biolatency.bpf.o"),
            "{set}: {names:?}"
        );
    }
    assert!(
        corpus
            .objects
            .iter()
            .all(|o| o.bytes().unwrap().starts_with(b"\x7fELF"))
    );

    let series: BTreeSet<_> = corpus.kernels.iter().map(Kernel::series).collect();
    assert!(
        series.len() >= 4 && series.contains("6.1") && series.contains("6.12"),
        "{series:?}"
    );
    for kernel in &corpus.kernels {
        let btf = fs::read(&kernel.btf).unwrap();
        assert!(
            btf.len() > 1_000_000 && btf.starts_with(b"\x9f\xeb\x01\0"),
            "{}: {} bytes",
            kernel.name,
            btf.len()
        );
        if let Some(config) = &kernel.config {
            assert!(
                fs::read_to_string(config)
                    .unwrap()
                    .contains("CONFIG_DEBUG_INFO_BTF=y"),
                "{}",
                kernel.name
            );
        }
    }
    assert!(
        corpus.kernels.iter().filter(|k| k.config.is_some()).count() >= 4,
        "{:?}",
        corpus.kernels
    );
    for arch in ["amd64", "arm64"] {
        assert!(
            corpus
                .kernels
                .iter()
                .any(|k| k.arch == arch && k.modules.len() >= 6),
            "{arch}: {:?}",
            corpus.kernels
        );
    }
}

#[test]
fn too_few_kernel_versions_say_what_to_do() {
    let said = enough(&Corpus {
        objects: Vec::new(),
        kernels: Vec::new(),
    })
    .unwrap_err();
    assert!(said.contains("make corpus"), "{said}");
}
