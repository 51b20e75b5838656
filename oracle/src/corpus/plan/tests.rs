use super::*;

fn places(index: &str) -> Vec<String> {
    plan(&Index::parse(index).unwrap())
        .into_iter()
        .map(|item| item.place)
        .collect()
}

#[test]
fn a_stable_release_gives_its_own_series_and_the_newest_of_it() {
    let index = "bookworm linux-image-6.1.0-9-cloud-amd64 6.1.90-1 amd64 1\n\
        bookworm linux-image-6.1.0-56-cloud-amd64 6.1.192-2 amd64 1\n\
        bookworm linux-image-6.12.117+deb12-cloud-amd64 6.12.117-1~deb12u1 amd64 1\n";
    assert_eq!(places(index), ["btf/bookworm-6.1.0-56-cloud-amd64"]);
}

#[test]
fn backports_give_each_series_of_arm64() {
    let index = "trixie-backports linux-image-6.18.9+deb13-cloud-arm64 6.18.9-1 arm64 1\n\
        trixie-backports linux-image-6.18.15+deb13-cloud-arm64 6.18.15-1 arm64 1\n\
        trixie-backports linux-binary-7.0.13+deb13-cloud-arm64 7.0.13-1 arm64 1\n";
    let expected = ["6.18.15+deb13-cloud-arm64", "7.0.13+deb13-cloud-arm64"];
    assert_eq!(
        places(index),
        expected.map(|release| format!("btf/trixie-backports-{release}"))
    );
}

#[test]
fn a_split_kernel_comes_out_of_all_its_packages() {
    let index = "trixie-backports linux-image-7.3.4+deb13-cloud-amd64 7.3.4-1 amd64 1\n\
        trixie-backports linux-binary-7.3.4+deb13-cloud-amd64 7.3.4-1 amd64 10\n\
        trixie-backports linux-base-7.3.4+deb13-cloud-amd64 7.3.4-1 amd64 100\n\
        trixie-backports linux-modules-7.3.4+deb13-cloud-amd64 7.3.4-1 amd64 1000\n";
    let plan = plan(&Index::parse(index).unwrap());
    let specs =
        ["binary", "base", "modules"].map(|k| format!("linux-{k}-7.3.4+deb13-cloud-amd64:amd64=7.3.4-1"));
    assert_eq!(
        (plan.len(), plan[0].bytes, &plan[0].specs[..]),
        (1, 1110, &specs[..])
    );
}
