//! What the storage of a file says, by looking at it from outside: nothing of the database is opened.

use ecm_core::Concern;
use std::{fs, path::Path};

/// With less room than this the storage counts as nearly full. Arbitrary: what a busy log takes within seconds.
const LEAST_FREE: u64 = 64 << 20;

/// A log that is longer than this, and longer than the file, is not being emptied. Arbitrary as well: sixteen times of
/// what a log has when frames are moved by default.
const LONGEST_LOG: u64 = 64 << 20;

/// What people should know of the storage of this file. Three system calls.
pub(crate) fn concerns(file: &Path, written: bool) -> Vec<Concern> {
    let room = room(file);
    let locked = fs::metadata(file).is_ok_and(|file| file.permissions().readonly());
    let mut concerns = Vec::new();
    if written && (locked || room.is_some_and(|(_, read_only)| read_only)) {
        concerns.push(Concern::ReadOnly);
    }
    concerns.extend(room.and_then(|(free, _)| short(free)));
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    concerns.extend(long(length(Path::new(&log)), length(file)));
    concerns
}

fn short(free: u64) -> Option<Concern> {
    (free < LEAST_FREE).then_some(Concern::NearlyFull { free })
}

fn long(log: u64, file: u64) -> Option<Concern> {
    (log > LONGEST_LOG && log > file).then_some(Concern::LongLog { bytes: log })
}

/// How many bytes the file system has left for this process, and whether it can only be read.
#[cfg(unix)]
fn room(file: &Path) -> Option<(u64, bool)> {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    let found = statvfs(file).ok()?;
    Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_flag.contains(StatVfsMountFlags::RDONLY)))
}

#[cfg(not(unix))]
fn room(_file: &Path) -> Option<(u64, bool)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_is_told_from_its_threshold_on() {
        assert_eq!((short(LEAST_FREE), short(7)), (None, Some(Concern::NearlyFull { free: 7 })));
        assert_eq!((long(LONGEST_LOG, 0), long(LONGEST_LOG + 1, LONGEST_LOG + 1)), (None, None));
        assert_eq!(long(LONGEST_LOG + 1, 9), Some(Concern::LongLog { bytes: LONGEST_LOG + 1 }));
    }

    #[cfg(unix)]
    #[test]
    fn the_storage_of_a_file_is_looked_at_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs::write(&path, "x").unwrap();
        let (free, read_only) = room(&path).unwrap();
        assert!(free > 0 && !read_only);
        let told = |written| {
            let all = concerns(&path, written).into_iter();
            all.filter(|concern| !matches!(concern, Concern::NearlyFull { .. })).collect::<Vec<_>>()
        };
        assert_eq!(told(true), []);
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        assert_eq!((told(true), told(false)), (vec![Concern::ReadOnly], vec![]));
        // Without taking room for it.
        fs::File::create(folder.path().join("a.db-wal")).unwrap().set_len(LONGEST_LOG + 1).unwrap();
        assert_eq!(told(false), [Concern::LongLog { bytes: LONGEST_LOG + 1 }]);
        assert_eq!(room(&folder.path().join("gone")), None);
    }
}
