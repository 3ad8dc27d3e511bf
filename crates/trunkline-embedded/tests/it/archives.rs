//! Archives for the tests of fetching: the pinned one where it is at hand, else one packed from what is installed,
//! and malicious ones.

use std::fs;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use trunkline_embedded::{Archive, Fetch};

use crate::world::{installed, installed_dir};

pub(crate) type Builder = tar::Builder<GzEncoder<Vec<u8>>>;

/// A directory to use as a mirror, and how to fetch from it.
pub(crate) struct Mirror {
    pub(crate) dir: PathBuf,
    pub(crate) archive: Archive,
}

impl Mirror {
    /// The pinned archive if `TRUNKLINE_TEST_PG_ARCHIVE` names a directory that holds it, else one of our own.
    pub(crate) fn good(dir: &Path) -> Self {
        if let Some(given) = std::env::var_os("TRUNKLINE_TEST_PG_ARCHIVE") {
            let archive = Archive::pinned().expect("an archive is pinned for this machine");
            let file = Path::new(&given).join(archive.file_name());
            assert!(file.is_file(), "{} is missing", file.display());
            eprintln!("fetching the pinned {}", file.display());
            return Self { dir: given.into(), archive };
        }
        eprintln!("fetching an archive packed from {}", installed().display());
        Self::packed(dir, |builder| {
            for name in ["initdb", "postgres"] {
                let program = fs::canonicalize(installed().join(name)).unwrap();
                builder.append_path_with_name(program, format!("postgresql-0/bin/{name}")).unwrap();
            }
            // A directory that is not beside `bin` is compiled into the programs and found without us.
            for which in ["--pkglibdir", "--sharedir"] {
                let from = installed_dir(which);
                if let Ok(inside) = from.strip_prefix(installed().parent().unwrap()) {
                    add(builder, &from, &Path::new("postgresql-0").join(inside));
                }
            }
        })
    }

    /// An archive with these entries and its true checksum.
    pub(crate) fn packed(dir: &Path, entries: impl FnOnce(&mut Builder)) -> Self {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        entries(&mut builder);
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        let archive = Archive {
            version: "18.0.99".into(),
            target: "here".into(),
            sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            bytes: u64::try_from(bytes.len()).unwrap(),
        };
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(archive.file_name()), bytes).unwrap();
        Self { dir: dir.to_owned(), archive }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(self.archive.file_name())
    }

    /// Fetching this archive from `place`.
    pub(crate) fn from(&self, place: impl Into<String>) -> Fetch {
        Fetch::from_mirror(place).with_archive(self.archive.clone())
    }
}

/// Adds a directory without what only compilers need.
fn add(builder: &mut Builder, from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let name = entry.file_name();
        let (path, to) = (entry.path(), to.join(&name));
        if path.is_file() {
            builder.append_path_with_name(&path, &to).unwrap();
        } else if name != "bitcode" && name != "pgxs" {
            add(builder, &path, &to);
        }
    }
}

/// An entry whose name is written as it stands, whatever it says.
pub(crate) fn raw_entry(builder: &mut Builder, name: &str, kind: tar::EntryType, link: &str, content: &str) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(u64::try_from(content.len()).unwrap());
    header.set_cksum();
    builder.append(&header, content.as_bytes()).unwrap();
}
