#![expect(
    unsafe_code,
    reason = "how a file is mapped is decided by its table of C functions, which rusqlite does not wrap"
)]

//! Keeps a database file mapped while others write.
//!
//! Whenever somebody else has committed, SQLite unmaps the file before the next read and maps it again, since POSIX
//! does not say what becomes of a mapping whose file was truncated and has grown back. Each time all pages have to be
//! found anew, and the other threads of the process wait, for whom the memory of the process is locked meanwhile: 16
//! threads that read, and write every tenth time, spent two thirds of their time so. Linux does say it: a mapping
//! shows what is in the file, and what was cut off and written anew is there again. So the file stays mapped here
//! until its size is another one than when SQLite asked last, which one system call tells.
//!
//! What holds in every function here:
//!
//! - The table of an open file is that of its own [`Kept`], which `keep` has put there, until `close`.
//! - SQLite passes a file only while it is open, and one thread at a time uses it.
//! - The table below was that of the file before; it is static, or lives as long as the file is open, and its functions
//!   are given the file and all other arguments as they came.

use rusqlite::{
    Connection,
    ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs},
};
use std::{
    cell::Cell,
    ffi::{CStr, c_int, c_void},
    ptr,
};

/// The table of one open file, with what is known of its mapping.
#[repr(C)]
struct Kept {
    /// First, as it is what SQLite sees of it.
    methods: sqlite3_io_methods,
    below: *const sqlite3_io_methods,
    /// The size of the file when SQLite last asked to unmap it; -1 if it is not known.
    size: Cell<sqlite3_int64>,
}

/// No size that a file has.
const UNKNOWN: sqlite3_int64 = -1;

/// The file systems of SQLite's own that map a file as the system does; what others map is their business.
const KNOWN: [&CStr; 4] = [c"unix", c"unix-excl", c"unix-dotfile", c"unix-none"];

/// Has the main file of this connection stay mapped, where the system keeps mappings coherent (Linux) and the file
/// system is one of SQLite's own. Once for a connection, before it is used by anybody else.
pub(crate) fn keep(connection: &Connection) {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return;
    }
    let mut file: *mut sqlite3_file = ptr::null_mut();
    let mut vfs: *mut sqlite3_vfs = ptr::null_mut();
    // SAFETY: the handle is open, since `connection` is borrowed, and is used by this thread alone, since `Connection`
    // is not `Sync`. Both operations store a pointer to what lives at least as long as the handle. A file system has a
    // name; the table of a file is null while it is not open, and has the functions that map from version 3 on. The new
    // table has the functions of the old one but for two, and is freed by `close` alone.
    unsafe {
        let ask = |op, answer: *mut c_void| {
            ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), op, answer) == ffi::SQLITE_OK
        };
        let is_told = ask(ffi::SQLITE_FCNTL_FILE_POINTER, (&raw mut file).cast())
            && ask(ffi::SQLITE_FCNTL_VFS_POINTER, (&raw mut vfs).cast());
        if !is_told || file.is_null() || vfs.is_null() || !KNOWN.contains(&CStr::from_ptr((*vfs).zName)) {
            return;
        }
        let below = (*file).pMethods;
        let maps = |methods: &sqlite3_io_methods| methods.iVersion >= 3 && methods.xUnfetch.is_some();
        let Some(methods) = below.as_ref().filter(|methods| maps(methods)) else { return };
        let methods = sqlite3_io_methods {
            // What a later version may have added is not copied.
            iVersion: 3,
            xClose: Some(close),
            xUnfetch: Some(unfetch),
            ..*methods
        };
        (*file).pMethods = Box::into_raw(Box::new(Kept { methods, below, size: Cell::new(UNKNOWN) })).cast();
    }
}

/// `xUnfetch`: gives a page back, or, without one, says that the mapping may be out of date.
unsafe extern "C" fn unfetch(file: *mut sqlite3_file, offset: sqlite3_int64, page: *mut c_void) -> c_int {
    // SAFETY: as said at the top. The out-pointer lives until after the call.
    unsafe {
        let kept = &*(*file).pMethods.cast::<Kept>();
        let below = &*kept.below;
        if page.is_null() {
            let mut size = UNKNOWN;
            let told = below.xFileSize.map(|size_of| size_of(file, &raw mut size));
            let size = if told == Some(ffi::SQLITE_OK) { size } else { UNKNOWN };
            if kept.size.replace(size) == size && size != UNKNOWN {
                return ffi::SQLITE_OK;
            }
        }
        below.xUnfetch.map_or(ffi::SQLITE_OK, |unfetch| unfetch(file, offset, page))
    }
}

/// `xClose`: the file has its former table again, and this one is freed.
unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as said at the top. `keep` has made the box, and nothing else has freed it, since nobody finds it any more
    // once the file has its former table.
    unsafe {
        let kept = Box::from_raw((*file).pMethods.cast_mut().cast::<Kept>());
        (*file).pMethods = kept.below;
        (*kept.below).xClose.map_or(ffi::SQLITE_OK, |close| close(file))
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    const ROWS: i64 = 20_000;

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("pragma mmap_size = 268435456; pragma wal_autocheckpoint = 0").unwrap();
        connection
    }

    /// A file of some hundred pages, with a connection that writes and one that keeps its mapping.
    fn pair() -> (tempfile::TempDir, Connection, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let writer = open(&path);
        writer.execute_batch("pragma journal_mode = wal; create table t(k integer primary key, v)").unwrap();
        fill(&writer);
        let reader = open(&path);
        keep(&reader);
        (folder, writer, reader)
    }

    fn fill(writer: &Connection) {
        let sql = "with recursive n(x) as (select 1 union all select x + 1 from n where x < ?1)
                   insert into t select x, hex(randomblob(40)) from n";
        writer.execute(sql, [ROWS]).unwrap();
        writer.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    }

    fn sum(connection: &Connection) -> (i64, Option<String>) {
        connection.query_row("select count(*), max(v) from t", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    /// How often this thread has touched a page that was not in its page table and needed no disk.
    fn faults() -> u64 {
        let told = fs::read_to_string("/proc/thread-self/stat").unwrap();
        told.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn a_file_stays_mapped_while_others_commit() {
        const COMMITS: u64 = 300;
        let (folder, writer, kept) = pair();
        let readers = [kept, open(&folder.path().join("a.db"))];
        let mut faulted = [0, 0];
        readers.iter().for_each(|reader| drop(sum(reader)));
        for key in 1..=COMMITS.cast_signed() {
            writer.execute("update t set v = ?2 where k = ?1", (key, key)).unwrap();
            for (reader, faulted) in readers.iter().zip(&mut faulted) {
                let mut read = reader.prepare_cached("select v from t where k = ?1").unwrap();
                let before = faults();
                let there: i64 = read.query_row([key], |row| row.get(0)).unwrap();
                // A page that is not in the log.
                let elsewhere: String = read.query_row([ROWS - key * 20], |row| row.get(0)).unwrap();
                *faulted += faults() - before;
                assert_eq!((there, elsewhere.len()), (key, 80));
            }
        }
        let [kept, plain] = faulted;
        assert!(kept + COMMITS / 2 < plain, "{kept} faults for {COMMITS} commits, and {plain} where it is mapped anew");
    }

    #[test]
    fn a_file_that_grows_is_cut_off_and_grows_again_is_read_as_it_is() {
        let (folder, writer, reader) = pair();
        let size = || fs::metadata(folder.path().join("a.db")).unwrap().len();
        let full = size();
        for looks_in_between in [true, false, true, false] {
            assert_eq!(sum(&reader), sum(&writer));
            writer.execute_batch("delete from t; vacuum; pragma wal_checkpoint(truncate)").unwrap();
            assert!(size() < full / 100, "{} of {full}", size());
            if looks_in_between {
                assert_eq!(sum(&reader), (0, None));
            }
            fill(&writer);
            assert_eq!(size(), full, "else the mapping is not kept where nobody has looked in between");
            // What the mapping showed before is not what is in the file now.
            assert_eq!(sum(&reader), sum(&writer));
            let answer: String = reader.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(answer, "ok");
        }
    }

    #[test]
    fn a_connection_closes_as_any_other_and_its_table_goes_with_it() {
        let (folder, writer, reader) = pair();
        drop(writer);
        sum(&reader);
        assert!(folder.path().join("a.db-wal").exists());
        reader.close().unwrap();
        assert!(!folder.path().join("a.db-wal").exists(), "only the last connection that closes removes the log");
        assert_eq!(sum(&open(&folder.path().join("a.db"))).0, ROWS);
    }

    #[test]
    fn what_is_in_memory_is_left_alone() {
        let connection = Connection::open_in_memory().unwrap();
        keep(&connection);
        connection.execute_batch("create table t(k, v); insert into t values (1, 'a')").unwrap();
        assert_eq!(sum(&connection), (1, Some("a".into())));
    }
}
