//! The kernel inside a kernel image: what boot loaders load holds it compressed.

use std::borrow::Cow;
use std::io::Read;

/// More than any kernel has unpacked.
const LIMIT: u64 = 512 << 20;

/// The kernel as it stands in memory, of a bzImage, an EFI zboot image, a compressed or a plain `Image`.
pub fn unpack(image: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if image.get(0x202..0x206) == Some(b"HdrS") {
        // Documentation/arch/x86/boot.rst: the real-mode part counts sectors, 0 meaning 4, after the first one.
        let sectors = match image.get(0x1f1) {
            Some(0) | None => 4,
            Some(n) => usize::from(*n),
        };
        let start = (sectors + 1) * 512 + word(image, 0x248)?;
        return decompress(part(image, start, word(image, 0x24c)?)?).map(Cow::Owned);
    }
    if image.get(4..8) == Some(b"zimg") {
        return decompress(part(image, word(image, 8)?, word(image, 12)?)?).map(Cow::Owned);
    }
    if image.starts_with(b"\x1f\x8b") {
        decompress(image).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(image))
    }
}

/// What stands before the end of the compressed stream; some append the size.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    match bytes {
        [0x1f, 0x8b, ..] => read("gzip", flate2::read::GzDecoder::new(bytes)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read("xz", liblzma::read::XzDecoder::new(bytes)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder =
                zstd::stream::read::Decoder::with_buffer(bytes).map_err(|e| format!("zstd: {e}"))?;
            read("zstd", decoder.single_frame())
        }
        [0x02, 0x21, 0x4c, 0x18, rest @ ..] => lz4(rest),
        _ => Err(format!(
            "compressed in a way that is not known here; it begins with {:02x?}",
            &bytes[..bytes.len().min(6)]
        )),
    }
}

fn read(name: &str, reader: impl Read) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match reader.take(LIMIT + 1).read_to_end(&mut out) {
        Ok(_) if out.len() as u64 <= LIMIT => Ok(out),
        Ok(_) => Err(format!("{name}: unpacks to more than {} MiB", LIMIT >> 20)),
        Err(e) => Err(format!("{name}: {e}")),
    }
}

/// lz4's old frames, which Linux still makes: blocks of 8 MiB, each after its length.
fn lz4(mut bytes: &[u8]) -> Result<Vec<u8>, String> {
    const BLOCK: usize = 8 << 20;
    let mut out = Vec::new();
    while let Ok(size) = word(bytes, 0) {
        // The unpacked size comes last, without a block.
        let Ok(block) = part(bytes, 4, size) else { break };
        out.extend(lz4_flex::block::decompress(block, BLOCK).map_err(|e| format!("lz4: {e}"))?);
        if out.len() as u64 > LIMIT {
            return Err(format!("lz4: unpacks to more than {} MiB", LIMIT >> 20));
        }
        bytes = &bytes[4 + size..];
    }
    Ok(out)
}

fn word(bytes: &[u8], at: usize) -> Result<usize, String> {
    let word = bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_le_bytes);
    word.map(|w| w as usize)
        .ok_or_else(|| format!("the image ends before {at:#x}"))
}

fn part(bytes: &[u8], start: usize, length: usize) -> Result<&[u8], String> {
    let end = start
        .checked_add(length)
        .ok_or("the image's header counts beyond memory")?;
    bytes
        .get(start..end)
        .ok_or_else(|| format!("the image ends before its payload does, at {end:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bzimage_gives_its_payload_without_the_size_behind_it() {
        let mut payload = gzip(b"the kernel");
        payload.extend(10u32.to_le_bytes());
        let mut image = vec![0; 1024 + 64];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&64u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend(payload);
        assert_eq!(&*unpack(&image).unwrap(), b"the kernel");
        assert!(unpack(&image[..image.len() - 20]).is_err());
    }

    #[test]
    fn arm64_images_may_be_zboot_gzip_or_plain() {
        let payload = gzip(b"the kernel");
        let mut zboot = b"MZ\0\0zimg".to_vec();
        zboot.extend(16u32.to_le_bytes());
        zboot.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        zboot.extend(&payload);
        for image in [zboot, payload, b"the kernel".to_vec()] {
            assert_eq!(&*unpack(&image).unwrap(), b"the kernel");
        }
    }

    #[test]
    fn each_compression_of_a_kernel_is_known() {
        let plain = b"the kernel, the kernel, the kernel".repeat(1000);
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&plain[..], 1)
            .read_to_end(&mut xz)
            .unwrap();
        let zstd = zstd::stream::encode_all(&plain[..], 1).unwrap();
        let block = lz4_flex::block::compress(&plain);
        let mut lz4 = b"\x02\x21\x4c\x18".to_vec();
        lz4.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        lz4.extend(block);
        for mut packed in [gzip(&plain), xz, zstd, lz4] {
            packed.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
            assert_eq!(decompress(&packed).unwrap(), plain);
        }
        assert!(decompress(b"what").is_err());
    }
}
