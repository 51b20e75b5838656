use std::io::Write as _;

use rstest::rstest;

use super::*;

enum Item<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    Directory(&'a str),
}
use Item::{Directory, File, Link};

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match item {
            File(path, bytes) => {
                header.set_size(bytes.len() as u64);
                // Not through the builder, which refuses paths that climb out.
                if path.len() < 100 {
                    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
                    header.set_cksum();
                    builder.append(&header, *bytes).unwrap();
                } else {
                    builder.append_data(&mut header, path, *bytes).unwrap();
                }
            }
            Link(path, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, path, target).unwrap();
            }
            Directory(path) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                builder.append_data(&mut header, path, io::empty()).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Searches layers, given as in a manifest: lowest first.
fn search(wanted: Option<&str>, layers: &[Vec<u8>]) -> Result<Search, ExtractError> {
    let mut search = Search::new(Wanted::new(wanted));
    for layer in layers.iter().rev() {
        search.layer(layer.as_slice(), Packing::Tar)?;
    }
    Ok(search)
}

fn found(wanted: Option<&str>, layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    search(wanted, layers).unwrap().finish().0
}

#[rstest]
#[case::plain("a/x.o")]
#[case::leading_slash("/a/x.o")]
#[case::dots("./a//x.o")]
fn a_file_is_found_however_its_path_is_written(#[case] wanted: &str) {
    let layer = tar(&[Directory("a"), File("./a/x.o", b"one"), File("b", b"two")]);
    assert_eq!(
        found(Some(wanted), &[layer]),
        [("a/x.o".to_owned(), b"one".to_vec())]
    );
}

#[test]
fn every_packing_is_read() {
    let layer = tar(&[File("x.o", b"one")]);
    let zstd = zstd::encode_all(layer.as_slice(), 3).unwrap();
    for (bytes, media_type) in [
        (layer.clone(), "application/vnd.oci.image.layer.v1.tar"),
        (gzip(&layer), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (zstd, "application/vnd.oci.image.layer.v1.tar+zstd"),
    ] {
        let mut search = Search::new(Wanted::OnlyObject);
        search
            .layer(bytes.as_slice(), Packing::of_media_type(media_type).unwrap())
            .unwrap();
        assert_eq!(
            search.finish().0,
            [("x.o".to_owned(), b"one".to_vec())],
            "{media_type}"
        );
    }
}

#[test]
fn the_upper_layer_wins() {
    let layers = [tar(&[File("x.o", b"old")]), tar(&[File("x.o", b"new")])];
    assert_eq!(found(Some("x.o"), &layers)[0].1, b"new");
    assert_eq!(found(None, &layers), [("x.o".to_owned(), b"new".to_vec())]);
}

#[rstest]
#[case::file(&[File("d/.wh.x.o", b"")])]
#[case::its_directory(&[File(".wh.d", b"")])]
#[case::opaque_directory(&[File("d/.wh..wh..opq", b"")])]
#[case::opaque_root(&[File(".wh..wh..opq", b"")])]
fn a_whiteout_hides_what_lies_below(#[case] upper: &[Item<'_>]) {
    let lower = tar(&[File("d/x.o", b"old")]);
    assert!(found(Some("d/x.o"), &[lower.clone(), tar(upper)]).is_empty());
    // In the same layer it hides nothing.
    let mut both: Vec<Item<'_>> = vec![File("d/x.o", b"new")];
    both.extend(upper.iter().map(|item| match item {
        File(path, bytes) => File(path, bytes),
        Link(path, target) => Link(path, target),
        Directory(path) => Directory(path),
    }));
    assert_eq!(found(Some("d/x.o"), &[lower, tar(&both)])[0].1, b"new");
}

#[test]
fn several_objects_are_reported_as_such() {
    let layer = tar(&[File("a.o", b"1"), File("b.o", b"2"), File("c.o", b"3")]);
    let (found, candidates) = search(None, &[layer]).unwrap().finish();
    assert_eq!(found.len(), 2);
    assert_eq!(candidates, ["a.o", "b.o", "c.o"]);
}

#[test]
fn links_are_not_followed() {
    let layer = tar(&[Link("x.o", "/etc/passwd"), File("etc/passwd", b"secret")]);
    let error = search(Some("x.o"), &[layer]).unwrap_err();
    assert!(
        error.to_string().contains("is a link to \"/etc/passwd\""),
        "{error}"
    );
}

#[test]
fn paths_that_climb_out_match_nothing() {
    let layer = tar(&[File("../x.o", b"1"), File("a/../../x.o", b"2")]);
    assert!(found(None, std::slice::from_ref(&layer)).is_empty());
    assert!(found(Some("x.o"), &[layer]).is_empty());
}

#[test]
fn long_names_are_read() {
    let name = format!("{}/x.o", "d".repeat(150));
    assert_eq!(found(Some(&name), &[tar(&[File(&name, b"1")])])[0].1, b"1");
}

#[test]
fn an_endless_name_is_refused() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(10 << 20);
    header.set_cksum();
    let mut layer = header.as_bytes().to_vec();
    layer.resize(layer.len() + (10 << 20), b'a');
    assert!(matches!(
        search(Some("x.o"), &[layer]),
        Err(ExtractError::Malformed(_))
    ));
}

#[test]
fn a_file_larger_than_an_object_is_refused_before_it_is_read() {
    let mut header = tar::Header::new_gnu();
    header.set_path("x.o").unwrap();
    header.set_size(MAX_OBJECT_BYTES + 1);
    header.set_cksum();
    assert!(matches!(
        search(Some("x.o"), &[header.as_bytes().to_vec()]),
        Err(ExtractError::TooLarge { .. })
    ));
}

/// A tar of one large file of zeros before the object.
fn bomb(size: usize) -> Vec<u8> {
    tar(&[File("zeros", &vec![0; size]), File("x.o", b"1")])
}

#[test]
fn a_gzip_bomb_is_stopped() {
    let packed = gzip(&bomb(100 << 20));
    assert!(packed.len() < 200 << 10);
    let mut search = Search::new(Wanted::OnlyObject);
    assert!(matches!(
        search.layer(packed.as_slice(), Packing::TarGzip),
        Err(ExtractError::Bomb)
    ));
    assert!(
        search.unpacked < 64 << 20,
        "stopped only after {} bytes",
        search.unpacked
    );
}

#[test]
fn a_zstd_bomb_is_stopped() {
    let packed = zstd::encode_all(bomb(100 << 20).as_slice(), 1).unwrap();
    let mut search = Search::new(Wanted::OnlyObject);
    assert!(matches!(
        search.layer(packed.as_slice(), Packing::TarZstd),
        Err(ExtractError::Bomb)
    ));
    assert!(search.unpacked < 64 << 20);
}

#[test]
fn layers_together_have_a_bound() {
    let layer = bomb(100 << 20);
    let layers = [layer.clone(), layer.clone(), layer];
    assert!(matches!(search(Some("absent"), &layers), Err(ExtractError::Bomb)));
}

#[test]
fn a_cut_off_layer_is_an_error_and_never_a_panic() {
    let layer = tar(&[File("a/x.o", b"some bytes"), Link("l", "t")]);
    for length in 0..layer.len().min(1600) {
        let mut search = Search::new(Wanted::new(Some("a/x.o")));
        let _ = search.layer(&layer[..length], Packing::Tar);
        for (_, bytes) in search.finish().0 {
            assert_eq!(bytes, b"some bytes");
        }
    }
    let packed = gzip(&layer);
    for length in 0..packed.len() {
        let mut search = Search::new(Wanted::OnlyObject);
        let _ = search.layer(&packed[..length], Packing::TarGzip);
    }
}
