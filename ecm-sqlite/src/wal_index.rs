#![expect(
    unsafe_code,
    reason = "SQLite shares the state of the log through memory, and offers no function to look at it"
)]

use ecm_core::Stamp;
use rusqlite::{Connection, ffi};
use std::{
    ffi::c_int,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

/// What one look at the wal-index saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) header: Header,
    /// How many frames of the log are in the database file by now: `nBackfill` of SQLite.
    pub(crate) backfilled: u32,
}

/// The header of the wal-index: which commit is the last one, by whatever process.
///
/// Every commit changes it, and so does a recovery; checksums in it make two of them differ where
/// what they stand for does. One that was read while it was being written equals no other.
/// The fields are those of `WalIndexHdr`: <https://sqlite.org/walformat.html#the_wal_index_file_format>.
#[derive(Clone, Copy, Debug, Eq)]
pub(crate) struct Header([u64; 6]);

impl PartialEq for Header {
    /// By hand: a derive compares memory by wider loads than it was written by, for which the processor waits.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differences, (mine, theirs)| differences | (mine ^ theirs)) == 0
    }
}

impl Look {
    /// Whether the whole log is in the database file, so that a new reader does not hold the log.
    pub(crate) fn is_all_backfilled(&self) -> bool {
        self.backfilled >= self.header.last_frame()
    }
}

impl Header {
    /// The same, as others are told it.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.0)
    }

    /// Whether SQLite has filled it in.
    pub(crate) fn is_initialised(&self) -> bool {
        self.0[1].to_ne_bytes()[4] != 0
    }

    /// The number of commits, which recovery sets back: `iChange`.
    pub(crate) fn commits(&self) -> u32 {
        halves(self.0[1])[0]
    }

    /// The last frame that is valid: `mxFrame`. 0 for an empty log.
    pub(crate) fn last_frame(&self) -> u32 {
        halves(self.0[2])[0]
    }

    /// Whether this is the state after exactly one commit that began in the state `before`, and whose
    /// last frame was `last_frame`, or 0 if it wrote nothing: nobody else has committed since.
    ///
    /// The count of commits alone would not do: a recovery sets it back. After the log was begun anew
    /// its salts differ, and it is shorter, or it was empty before; where it is neither, the answer is no, to be sure.
    pub(crate) fn follows(&self, before: &Self, last_frame: u32) -> bool {
        if last_frame == 0 {
            return self == before;
        }
        self.commits() == before.commits().wrapping_add(1)
            && self.last_frame() == last_frame
            && (self.salts() == before.salts() || last_frame < before.last_frame() || before.last_frame() == 0)
    }

    /// Tells one log from the next, which is begun where it was.
    pub(crate) fn salts(&self) -> u64 {
        self.0[4]
    }

    #[cfg(test)]
    pub(crate) fn made_up(commits: u32, last_frame: u32) -> Self {
        let word = |first: u32, second: [u8; 4]| {
            let [a, b, c, d] = first.to_ne_bytes();
            let [e, f, g, h] = second;
            u64::from_ne_bytes([a, b, c, d, e, f, g, h])
        };
        Self([0, word(commits, [1, 0, 0, 0]), word(last_frame, [0; 4]), 0, 0, 0])
    }
}

/// The two numbers that lie one after the other in a word.
fn halves(word: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Where the wal-index of one connection is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalIndex(NonNull<u64>);

/// The size of a region of the wal-index (`WALINDEX_PGSZ`), of which only the first is looked at.
const REGION: c_int = 32_768;

/// Where `nBackfill` stands in the first region, after two copies of the header.
const BACKFILLED_AT: usize = 96;

impl WalIndex {
    /// Finds it, for a connection that has read something and whose journal is a log. `None` where
    /// there is none that is shared, or where it cannot be looked at in one piece.
    ///
    /// It asks the file object of the connection itself. Opening the `-shm` file instead would drop
    /// every lock of the process on it as soon as that descriptor is closed.
    ///
    /// # Safety
    /// `PRAGMA journal_mode` of the connection has answered `wal` and `PRAGMA locking_mode` `normal`,
    /// and neither has been changed since: asked for a file without a log, SQLite would make one.
    pub(crate) unsafe fn of(connection: &Connection) -> Option<Self> {
        // A part of the header must be one load, also where the mapping is read-only.
        if cfg!(not(target_pointer_width = "64")) {
            return None;
        }
        let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
        let mut region = ptr::null_mut();
        // SAFETY: the handle is open, since `connection` is borrowed, and used by this thread alone.
        // `FILE_POINTER` stores the pointer to the file object, which lives as long as the handle.
        // Its methods are null while it is not open, and static otherwise; version 2 has `xShmMap`,
        // whose out-pointer lives until after the call. The wal-index is open already, as the caller
        // promises, and `bExtend = 0` does not make it longer.
        let code = unsafe {
            let file_at = (&raw mut file).cast();
            let op = ffi::SQLITE_FCNTL_FILE_POINTER;
            if ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), op, file_at) != ffi::SQLITE_OK {
                return None;
            }
            let methods = file.as_ref()?.pMethods.as_ref()?;
            let map = if methods.iVersion >= 2 { methods.xShmMap? } else { return None };
            map(file, 0, REGION, 0, &raw mut region)
        };
        // A mapping that may only be read is one, and SQLite says so.
        if !matches!(code, ffi::SQLITE_OK | ffi::SQLITE_READONLY) {
            return None;
        }
        NonNull::new(region.cast::<u64>()).filter(|region| region.is_aligned()).map(Self)
    }

    /// Looks at it, which takes some nanoseconds.
    ///
    /// # Safety
    /// The connection is open, and its journal and its locking mode are still what they were when
    /// the wal-index was found.
    pub(crate) unsafe fn look(self) -> Look {
        // SAFETY: the region is mapped, or allocated, for as long as the connection has its log open,
        // as the caller promises, and is `REGION` bytes long. It is aligned to eight bytes. Others
        // write it at any moment, also other processes, so that it is only read by atomic loads;
        // they are relaxed and not longer than a pointer, which is allowed in read-only memory.
        unsafe {
            let word = |index: usize| AtomicU64::from_ptr(self.0.add(index).as_ptr()).load(Ordering::Relaxed);
            let header = Header([word(0), word(1), word(2), word(3), word(4), word(5)]);
            // Whatever is read of the database afterwards is at least as new.
            fence(Ordering::Acquire);
            let backfilled = self.0.byte_add(BACKFILLED_AT).cast::<u32>();
            Look { header, backfilled: AtomicU32::from_ptr(backfilled.as_ptr()).load(Ordering::Relaxed) }
        }
    }

    /// The other copy of the header, which whoever commits writes first. While the two differ SQLite waits, for up
    /// to ten seconds where the process that writes them has been stopped.
    ///
    /// # Safety
    /// As [`look`](Self::look).
    pub(crate) unsafe fn other_header(self) -> Header {
        // SAFETY: as in `look`: the second copy follows the first, in front of `BACKFILLED_AT`.
        unsafe {
            let word = |index: usize| AtomicU64::from_ptr(self.0.add(index).as_ptr()).load(Ordering::Relaxed);
            Header([word(6), word(7), word(8), word(9), word(10), word(11)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_copies_of_the_header_agree_between_two_commits() {
        let (_folder, connection) = log();
        // SAFETY: it is in this mode, and nothing sets another.
        let index = unsafe { WalIndex::of(&connection) }.unwrap();
        // SAFETY: the connection is open until the end of the test.
        let (look, other) = unsafe { (index.look(), index.other_header()) };
        assert!(look.header.is_initialised());
        assert_eq!(look.header, other);
    }

    fn log() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("a.db")).unwrap();
        connection
            .execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table t(a)")
            .unwrap();
        (folder, connection)
    }

    fn index(connection: &Connection) -> WalIndex {
        // SAFETY: `log` has set the journal mode, and nothing else sets one.
        unsafe { WalIndex::of(connection) }.expect("there is one")
    }

    fn look(index: WalIndex) -> Look {
        // SAFETY: as above; each test looks only while its connection is open.
        unsafe { index.look() }
    }

    #[test]
    fn a_commit_of_any_connection_changes_the_header_and_a_read_does_not() {
        let (folder, connection) = log();
        let index = index(&connection);
        let before = look(index);
        assert!(before.header.is_initialised());
        let rows: i64 = connection.query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
        assert_eq!((rows, look(index)), (0, before));
        let other = Connection::open(folder.path().join("a.db")).unwrap();
        other.execute_batch("insert into t values (1)").unwrap();
        let after = look(index);
        assert_ne!(after.header, before.header);
        assert_eq!(after.header.commits(), before.header.commits() + 1);
        assert!(after.header.last_frame() > before.header.last_frame());
    }

    #[test]
    fn only_one_commit_of_the_same_log_or_of_a_shorter_one_follows() {
        let header = |commits, last_frame, salts| {
            let mut header = Header::made_up(commits, last_frame);
            header.0[4] = salts;
            header
        };
        let before = header(7, 20, 1);
        assert!(header(8, 23, 1).follows(&before, 23));
        assert!(header(8, 3, 2).follows(&before, 3), "the log was begun anew");
        let empty = header(7, 0, 1);
        assert!(header(8, 3, 2).follows(&empty, 3), "the log was begun");
        assert!(
            !header(9, 3, 2).follows(&empty, 3) && !header(8, 4, 2).follows(&empty, 3),
            "and somebody else has gone on"
        );
        assert!(!header(9, 25, 1).follows(&before, 23), "somebody has committed after it");
        assert!(!header(8, 25, 1).follows(&before, 23), "a recovery has set the count back");
        assert!(!header(8, 23, 2).follows(&before, 23), "another log, as long as this one");
        assert!(!header(7, 20, 1).follows(&before, 20));
        assert!(header(7, 20, 1).follows(&before, 0), "it wrote nothing");
        assert!(!header(8, 23, 1).follows(&before, 0), "it wrote nothing, and somebody else has committed");
        assert!(header(0, 23, 1).follows(&header(u32::MAX, 20, 1), 23));
    }

    #[test]
    fn a_checkpoint_moves_what_is_in_the_file_and_not_the_header() {
        let (_folder, connection) = log();
        let index = index(&connection);
        let before = look(index);
        assert!(!before.is_all_backfilled());
        connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())).unwrap();
        let after = look(index);
        assert!(after.is_all_backfilled());
        assert_eq!(after.header, before.header);
    }

    #[test]
    fn every_connection_sees_the_same_and_the_place_does_not_move_when_the_log_grows() {
        let (folder, connection) = log();
        let index = index(&connection);
        let other = Connection::open(folder.path().join("a.db")).unwrap();
        other.query_row("select count(*) from t", [], |_| Ok(())).unwrap();
        other
            .execute_batch(
                "begin; with recursive n(x) as (select 1 union all select x + 1 from n where x < 40000)
             insert into t select randomblob(1000) from n; commit",
            )
            .unwrap();
        assert!(look(index).header.last_frame() > 8_000, "more than the first region has room for");
        assert_eq!(look(self::index(&other)), look(index));
    }

    #[test]
    fn a_database_in_memory_has_none() {
        let connection = Connection::open_in_memory().unwrap();
        // SAFETY: not met, and harmless: a database in memory has no methods to make one.
        assert!(unsafe { WalIndex::of(&connection) }.is_none());
    }
}
