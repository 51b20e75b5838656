//! Finding one file in the layers of an image. Nothing is unpacked: a path that climbs out of the image or
//! a link has nothing to lead to.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use bpfleet_crds::object::MAX_OBJECT_BYTES;

/// Most bytes that the layers of one image may unpack to.
pub const MAX_UNPACKED_BYTES: u64 = 256 << 20;
/// Unpacked bytes that need no compressed ones to show for; an object may begin with a lot of zeros.
const FREE_BYTES: u64 = 16 << 20;
/// Most unpacked bytes for each compressed one beyond [`FREE_BYTES`].
const MAX_RATIO: u64 = 256;
/// Most entries in all layers of an image.
const MAX_ENTRIES: u64 = 200_000;
/// Longest extension header (a long name); longer ones are no names.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;
/// Most whiteouts remembered, and most files that could be meant.
const MAX_REMEMBERED: usize = 20_000;
/// Most memory that decompression may use for its window, as a power of two (64 MiB).
const ZSTD_WINDOW_LOG: u32 = 26;

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// tar.
    Tar,
    /// tar, compressed with gzip.
    TarGzip,
    /// tar, compressed with zstd.
    TarZstd,
}

impl Packing {
    /// What a layer's media type says.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Some(Self::Tar)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::TarGzip),
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Self::TarZstd),
            _ => None,
        }
    }
}

/// Why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// Not what its media type says, or cut off.
    #[error("the layer cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It unpacks to too much.
    #[error("the image's layers unpack to more than {} MiB, or far more than they are worth; put the object into an image of its own", MAX_UNPACKED_BYTES >> 20)]
    Bomb,
    /// Too many entries.
    #[error("the image has more than {MAX_ENTRIES} entries; put the object into an image of its own")]
    TooManyEntries,
    /// A header that no tool writes for such files.
    #[error("the layer has an entry that cannot be right: {0}")]
    Malformed(String),
    /// The file is larger than an object may be.
    #[error("{path} is larger than {} MiB, the most that bpfleet takes", MAX_OBJECT_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// The file is a link.
    #[error("{path} is a link to {target:?}; links are not followed, name the file itself")]
    Link {
        /// The file.
        path: String,
        /// Where it leads.
        target: String,
    },
}

/// Which file is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one at this path.
    Path(String),
    /// The only one whose name ends in `.o`.
    OnlyObject,
}

impl Wanted {
    /// What a spec asks for.
    pub fn new(file: Option<&str>) -> Self {
        file.map_or(Self::OnlyObject, |file| {
            Self::Path(normalise(file.as_bytes()).unwrap_or_else(|| file.to_owned()))
        })
    }
}

/// A search through an image's layers, uppermost first: what an upper layer holds or deletes hides what
/// lies below.
#[derive(Debug)]
pub struct Search {
    wanted: Wanted,
    unpacked: u64,
    entries: u64,
    hidden: BTreeSet<String>,
    opaque: BTreeSet<String>,
    found: Vec<(String, Vec<u8>)>,
    candidates: BTreeSet<String>,
}

impl Search {
    /// Begins a search.
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            unpacked: 0,
            entries: 0,
            hidden: BTreeSet::new(),
            opaque: BTreeSet::new(),
            found: Vec::new(),
            candidates: BTreeSet::new(),
        }
    }

    /// Whether lower layers cannot change the outcome.
    pub fn is_over(&self) -> bool {
        matches!(self.wanted, Wanted::Path(_)) && !self.found.is_empty()
    }

    /// What was found: paths with their bytes (at most the one that was asked for, or up to two objects),
    /// and the paths of all objects seen.
    pub fn finish(self) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
        (self.found, self.candidates.into_iter().collect())
    }

    /// Looks through the next lower layer.
    ///
    /// # Errors
    /// The layer is unreadable or exceeds a bound, or the file is none that can be used.
    pub fn layer(&mut self, packed: impl Read, packing: Packing) -> Result<(), ExtractError> {
        let packed = Counted {
            inner: packed,
            count: 0,
        };
        match packing {
            Packing::Tar => self.tar(packed),
            Packing::TarGzip => self.tar(flate2::read::MultiGzDecoder::new(packed)),
            Packing::TarZstd => {
                let mut decoder = zstd::stream::read::Decoder::new(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                self.tar(decoder)
            }
        }
    }

    fn tar<R: Unpack>(&mut self, unpack: R) -> Result<(), ExtractError> {
        let mut bounded = Bounded {
            inner: unpack,
            before: self.unpacked,
            count: 0,
            exceeded: false,
        };
        let (mut hidden, mut opaque) = (BTreeSet::new(), BTreeSet::new());
        let result = self.entries(&mut bounded, &mut hidden, &mut opaque);
        self.unpacked = self.unpacked.saturating_add(bounded.count);
        // A layer hides what is below it, not what is in it.
        self.hidden.append(&mut hidden);
        self.opaque.append(&mut opaque);
        if bounded.exceeded {
            Err(ExtractError::Bomb)
        } else {
            result
        }
    }

    fn entries(
        &mut self,
        reader: impl Read,
        hidden: &mut BTreeSet<String>,
        opaque: &mut BTreeSet<String>,
    ) -> Result<(), ExtractError> {
        let mut archive = tar::Archive::new(reader);
        // Raw: the library would read a name of any length into memory.
        let entries = archive.entries()?.raw(true);
        let mut long_name: Option<Vec<u8>> = None;
        for entry in entries {
            let mut entry = entry?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(ExtractError::TooManyEntries);
            }
            let kind = entry.header().entry_type();
            if kind.is_gnu_longname() {
                let mut name = extension(&mut entry)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                long_name = Some(name);
                continue;
            }
            if kind.is_pax_local_extensions() {
                if let Some(name) = pax_path(&extension(&mut entry)?)? {
                    long_name = Some(name);
                }
                continue;
            }
            if kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
                continue;
            }
            let path = match long_name.take() {
                Some(name) => normalise(&name),
                None => normalise(&entry.header().path_bytes()),
            };
            // A path that climbs out is nobody's file.
            let Some(path) = path else { continue };
            self.entry(entry, path, hidden, opaque)?;
        }
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        mut entry: tar::Entry<'_, R>,
        path: String,
        hidden: &mut BTreeSet<String>,
        opaque: &mut BTreeSet<String>,
    ) -> Result<(), ExtractError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            remember(opaque, directory.to_owned());
            return Ok(());
        }
        if let Some(deleted) = name.strip_prefix(".wh.") {
            let deleted = if directory.is_empty() {
                deleted.to_owned()
            } else {
                format!("{directory}/{deleted}")
            };
            remember(hidden, deleted);
            return Ok(());
        }
        let kind = entry.header().entry_type();
        // Where an upper layer has a file, a directory below it is no more.
        if let Wanted::Path(wanted) = &self.wanted
            && !kind.is_dir()
            && wanted
                .strip_prefix(&path)
                .is_some_and(|rest| rest.starts_with('/'))
        {
            remember(hidden, path.clone());
        }
        let is_object = path.ends_with(".o");
        let matches = match &self.wanted {
            Wanted::Path(wanted) => *wanted == path,
            Wanted::OnlyObject => is_object,
        };
        if kind.is_dir() || !(matches || is_object) || self.is_hidden(&path) {
            return Ok(());
        }
        remember(hidden, path.clone());
        if is_object && kind.is_file() {
            remember(&mut self.candidates, path.clone());
        }
        if !matches {
            return Ok(());
        }
        if kind.is_symlink() || kind.is_hard_link() {
            if self.wanted == Wanted::OnlyObject {
                return Ok(());
            }
            let target = entry.header().link_name_bytes().unwrap_or_default();
            return Err(ExtractError::Link {
                path,
                target: String::from_utf8_lossy(&target).into_owned(),
            });
        }
        if !kind.is_file() {
            return Err(ExtractError::Malformed(format!("{path} is no file")));
        }
        if entry.size() > MAX_OBJECT_BYTES {
            return Err(ExtractError::TooLarge { path });
        }
        // A layer may name a path twice: the last one counts. Two different objects are enough to know
        // that there are several.
        self.found.retain(|(known, _)| *known != path);
        if self.found.len() < 2 {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_OBJECT_BYTES).read_to_end(&mut bytes)?;
            if bytes.len() as u64 != entry.size() {
                return Err(ExtractError::Malformed(format!("{path} is cut off")));
            }
            self.found.push((path, bytes));
        }
        Ok(())
    }

    /// Whether a layer above hides this path.
    fn is_hidden(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.hidden.contains(path)
            || self.opaque.contains("")
            || parents
                .clone()
                .any(|parent| self.hidden.contains(parent) || self.opaque.contains(parent))
    }
}

fn remember(set: &mut BTreeSet<String>, path: String) {
    if set.len() < MAX_REMEMBERED {
        set.insert(path);
    }
}

fn extension<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, ExtractError> {
    if entry.size() > MAX_EXTENSION_BYTES {
        return Err(ExtractError::Malformed(format!(
            "an extension header of {} bytes",
            entry.size()
        )));
    }
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The path in a PAX header, if it has one.
fn pax_path(bytes: &[u8]) -> Result<Option<Vec<u8>>, ExtractError> {
    let mut path = None;
    for record in tar::PaxExtensions::new(bytes) {
        let record = record?;
        match record.key_bytes() {
            b"path" => path = Some(record.value_bytes().to_vec()),
            // It would stand for the size in the next header, which only files of more than 8 GiB need.
            b"size" => return Err(ExtractError::Malformed("a file of more than 8 GiB".to_owned())),
            _ => {}
        }
    }
    Ok(path)
}

/// The path without `.`, doubled or leading slashes; none if it climbs out, is empty or is not UTF-8.
pub fn normalise(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Counts what is read from the compressed side.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count = self.count.saturating_add(read as u64);
        Ok(read)
    }
}

/// A decompressor that tells how much it has read.
trait Unpack: Read {
    fn packed_bytes(&self) -> u64;
}

impl<R: Read> Unpack for Counted<R> {
    fn packed_bytes(&self) -> u64 {
        self.count
    }
}

impl<R: Read> Unpack for flate2::read::MultiGzDecoder<Counted<R>> {
    fn packed_bytes(&self) -> u64 {
        self.get_ref().count
    }
}

impl<R: Read> Unpack for zstd::stream::read::Decoder<'_, io::BufReader<Counted<R>>> {
    fn packed_bytes(&self) -> u64 {
        self.get_ref().get_ref().count
    }
}

/// Stops at the bounds on what layers unpack to.
struct Bounded<R> {
    inner: R,
    before: u64,
    count: u64,
    exceeded: bool,
}

impl<R: Unpack> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let worth = FREE_BYTES.saturating_add(self.inner.packed_bytes().saturating_mul(MAX_RATIO));
        let total = self.before.saturating_add(self.count);
        if total > MAX_UNPACKED_BYTES || self.count > worth {
            self.exceeded = true;
            return Err(io::Error::other("it unpacks to too much"));
        }
        let read = self.inner.read(buffer)?;
        self.count = self.count.saturating_add(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
