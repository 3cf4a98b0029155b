use crate::fault::refused;
use ecm_core::{Failure, Fault, FaultKind, Kind};
use rusqlite::ffi;
use std::{
    fs::Metadata,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Which file it is that stands at the path of a database.
///
/// A file that is replaced, by a rename for instance, leaves the connections that are open in the old one, where nobody
/// else would ever see what they write. Each connection belongs to the generation in which it was opened, and serves no
/// loan in a later one.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    number: AtomicU64,
    /// What the file is to the system: its device, and its number there.
    file: Mutex<Option<(u64, u64)>>,
}

impl Generation {
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// A connection is being opened and finds this file: a new generation begins if it is another one. True if so.
    pub(crate) fn found(&self, file: &Metadata) -> bool {
        let Some(identity) = identity(file) else { return false };
        let mut known = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let other = known.replace(identity).is_some_and(|known| known != identity);
        if other {
            self.number.fetch_add(1, Ordering::Relaxed);
        }
        other
    }

    /// A connection of this generation has found that its file is not the one at the path any more.
    pub(crate) fn lost(&self, generation: u64) {
        let mut known = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Several connections find it out.
        if self.number() == generation {
            *known = None;
            self.number.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a connection in a file says that is not the one at the path any more.
pub(crate) fn moved(place: &str) -> Failure {
    let fault = Fault { kind: FaultKind::Storage, code: ffi::SQLITE_READONLY_DBMOVED };
    refused(
        Kind::Fault(fault),
        format_args!(
            "the file of the database {place} was moved, deleted or replaced while it was open: this connection is \
             closed, and the next one opens what is there now; close the database before its file is exchanged, or \
             copy into it by SQLite's backup"
        ),
    )
}

#[cfg(unix)]
fn identity(file: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((file.dev(), file.ino()))
}

/// Elsewhere an open file cannot be replaced.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn another_file_begins_another_generation_and_the_same_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        [&one, &other].into_iter().for_each(|path| fs::write(path, "x").unwrap());
        let generation = Generation::default();
        let found = |path: &Path| generation.found(&fs::metadata(path).unwrap());
        assert_eq!([found(&one), found(&one), found(&other), found(&other)], [false, false, cfg!(unix), false]);
        let now = generation.number();
        generation.lost(now);
        generation.lost(now);
        assert_eq!(generation.number(), now + 1, "two connections of one generation have lost one file");
        assert!(!found(&one), "that generation has begun already");
    }
}
