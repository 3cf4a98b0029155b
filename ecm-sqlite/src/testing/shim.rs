#![expect(unsafe_code, reason = "a file system of SQLite's is a table of C functions")]

//! The table of functions behind [`FaultyDisk`](super::FaultyDisk).
//!
//! What holds in every function here:
//!
//! - SQLite passes the very `sqlite3_vfs` that `register` gave it. It and its `Registered` are never
//!   freed, and the file system below is one that SQLite has registered, which stays for ever.
//! - SQLite passes a file only between a successful `open` and `close`. `open` has written a `File`
//!   at its beginning and opened a file of the file system below behind it, in memory of the size
//!   that `register` has asked for. One thread at a time uses it.
//! - All other arguments are passed on as they came, so that what SQLite promises about them holds.

use super::disk::{Fate, Operation, Plan, Stored};
use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};
use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem,
    path::{Path, PathBuf},
    ptr,
    sync::Arc,
};

/// What the `pAppData` of a file system points to.
struct Registered {
    below: *mut sqlite3_vfs,
    plan: Arc<Plan>,
}

/// What stands at the beginning of a file, in front of the one of the file system below.
#[repr(C)]
struct File {
    /// First, as SQLite expects it.
    base: sqlite3_file,
    plan: Arc<Plan>,
    stored: Stored,
    /// Where it is, if it is remembered what survives of it.
    path: Option<PathBuf>,
}

/// How many bytes of a file are this module's own: a multiple of what any structure is aligned to.
const OWN: usize = size_of::<File>().next_multiple_of(16);

/// Registers a file system of this name over the one that SQLite uses by itself.
///
/// # Panics
/// If there is none, or SQLite refuses another one.
pub(super) fn register(name: &'static CStr, plan: Arc<Plan>) {
    // SAFETY: as said at the top.
    unsafe {
        assert_eq!(ffi::sqlite3_initialize(), ffi::SQLITE_OK, "SQLite cannot be initialised");
        let below = ffi::sqlite3_vfs_find(ptr::null());
        assert!(!below.is_null(), "SQLite has no file system");
        let registered = Box::leak(Box::new(Registered { below, plan }));
        let vfs = sqlite3_vfs {
            // Without what version 3 adds: replacing system calls.
            iVersion: 2,
            szOsFile: c_int::try_from(OWN).expect("small") + (*below).szOsFile,
            pNext: ptr::null_mut(),
            zName: name.as_ptr(),
            pAppData: ptr::from_mut(registered).cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            // Extensions and the like are none of a disk's business, and need not this table.
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(get_last_error),
            xCurrentTimeInt64: (*below).xCurrentTimeInt64.map(|_| current_time_int64 as _),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
            ..*below
        };
        let code = ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0);
        assert_eq!(code, ffi::SQLITE_OK, "SQLite does not accept another file system");
    }
}

/// Three tables, because SQLite tells by the version what a file below cannot do.
static METHODS: [sqlite3_io_methods; 3] = [methods(1), methods(2), methods(3)];

const fn methods(version: c_int) -> sqlite3_io_methods {
    sqlite3_io_methods {
        iVersion: version,
        xClose: Some(close),
        xRead: Some(read),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        xFileSize: Some(file_size),
        xLock: Some(take_lock),
        xUnlock: Some(unlock),
        xCheckReservedLock: Some(check_reserved_lock),
        xFileControl: Some(file_control),
        xSectorSize: Some(sector_size),
        xDeviceCharacteristics: Some(device_characteristics),
        xShmMap: Some(shm_map),
        xShmLock: Some(shm_lock),
        xShmBarrier: Some(shm_barrier),
        xShmUnmap: Some(shm_unmap),
        xFetch: Some(fetch),
        xUnfetch: Some(unfetch),
    }
}

unsafe fn registered<'a>(vfs: *mut sqlite3_vfs) -> &'a Registered {
    // SAFETY: as said at the top.
    unsafe { &*(*vfs).pAppData.cast::<Registered>() }
}

unsafe fn own<'a>(file: *mut sqlite3_file) -> &'a File {
    // SAFETY: as said at the top.
    unsafe { &*file.cast::<File>() }
}

/// The file of the file system below, and its functions.
unsafe fn below<'a>(file: *mut sqlite3_file) -> (*mut sqlite3_file, &'a sqlite3_io_methods) {
    // SAFETY: as said at the top.
    unsafe {
        let below = file.byte_add(OWN);
        (below, &*(*below).pMethods)
    }
}

/// Calls a function of the file below, which there is: the version of the table says so.
macro_rules! pass_on {
    ($file:expr, $function:ident $(, $argument:expr)*) => {{
        let (below, methods) = below($file);
        match methods.$function {
            Some(function) => function(below $(, $argument)*),
            None => ffi::SQLITE_IOERR,
        }
    }};
}

/// Calls a function of the file system below, which there is, as in every file system.
macro_rules! pass_down {
    ($vfs:expr, $function:ident $(, $argument:expr)*) => {{
        let below = registered($vfs).below;
        match (*below).$function {
            Some(function) => function(below $(, $argument)*),
            None => ffi::SQLITE_ERROR,
        }
    }};
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        // Null until it is open: SQLite closes what has methods.
        (*file).pMethods = ptr::null();
        let behind = file.byte_add(OWN);
        (*behind).pMethods = ptr::null();
        let stored = match flags {
            _ if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 => Stored::Database,
            _ if flags & ffi::SQLITE_OPEN_WAL != 0 => Stored::Log,
            _ => Stored::Other,
        };
        match registered(vfs).plan.fate(Operation::Open, stored) {
            Fate::Done => {}
            Fate::Refused(code) | Fate::Half(code) => return code,
        }
        let code = pass_down!(vfs, xOpen, name, behind, flags, out_flags);
        if code != ffi::SQLITE_OK {
            return code;
        }
        let plan = Arc::clone(&registered(vfs).plan);
        let path = (stored != Stored::Other && plan.keeps_synced()).then(|| path_of(name)).flatten();
        let version = (*(*behind).pMethods).iVersion.clamp(1, 3);
        let base = sqlite3_file { pMethods: &METHODS[usize::try_from(version - 1).unwrap_or(0)] };
        ptr::write(file.cast(), File { base, plan, stored, path });
        let own = own(file);
        if let Some(path) = &own.path
            && let Some(content) = content(file)
        {
            own.plan.opened(path, content);
        }
        ffi::SQLITE_OK
    }
}

unsafe fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: as said at the top.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().ok().map(|name| Path::new(name).to_owned())
}

/// All of a file as it is, past every harm.
unsafe fn content(file: *mut sqlite3_file) -> Option<Vec<u8>> {
    // SAFETY: as said at the top.
    unsafe {
        let mut size: sqlite3_int64 = 0;
        if pass_on!(file, xFileSize, &raw mut size) != ffi::SQLITE_OK {
            return None;
        }
        let mut content = vec![0; usize::try_from(size).ok()?];
        let length = c_int::try_from(size).ok()?;
        let code = pass_on!(file, xRead, content.as_mut_ptr().cast(), length, 0);
        (code == ffi::SQLITE_OK).then_some(content)
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        let code = pass_on!(file, xClose);
        ptr::drop_in_place(file.cast::<File>());
        (*file).pMethods = ptr::null();
        code
    }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, amount: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        match own(file).plan.fate(Operation::Read, own(file).stored) {
            Fate::Done => pass_on!(file, xRead, to, amount, offset),
            Fate::Refused(code) => code,
            Fate::Half(code) => {
                let code_below = pass_on!(file, xRead, to, amount / 2, offset);
                let half = amount / 2;
                // SQLite expects zeros in place of what is beyond the end.
                let rest = usize::try_from(amount - half).unwrap_or(0);
                ptr::write_bytes(to.byte_add(usize::try_from(half).unwrap_or(0)).cast::<u8>(), 0, rest);
                if code_below == ffi::SQLITE_OK { code } else { code_below }
            }
        }
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        match own(file).plan.fate(Operation::Write, own(file).stored) {
            Fate::Done => pass_on!(file, xWrite, from, amount, offset),
            Fate::Refused(code) => code,
            Fate::Half(code) => {
                pass_on!(file, xWrite, from, amount / 2, offset);
                code
            }
        }
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        match own(file).plan.fate(Operation::Truncate, own(file).stored) {
            Fate::Done => pass_on!(file, xTruncate, size),
            Fate::Refused(code) | Fate::Half(code) => code,
        }
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        let own = own(file);
        match own.plan.fate(Operation::Sync, own.stored) {
            Fate::Done => {}
            Fate::Refused(code) | Fate::Half(code) => return code,
        }
        let code = pass_on!(file, xSync, flags);
        if code == ffi::SQLITE_OK
            && let Some(path) = &own.path
        {
            own.plan.synced(path, || content(file));
        }
        code
    }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xFileSize, size) }
}

unsafe extern "C" fn take_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        match own(file).plan.fate(Operation::Lock, own(file).stored) {
            Fate::Done => pass_on!(file, xLock, level),
            Fate::Refused(code) | Fate::Half(code) => code,
        }
    }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xUnlock, level) }
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, reserved: *mut c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xCheckReservedLock, reserved) }
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, op: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xFileControl, op, argument) }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xSectorSize) }
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xDeviceCharacteristics) }
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        match own(file).plan.fate(Operation::ShareMemory, own(file).stored) {
            Fate::Done => pass_on!(file, xShmMap, region, size, extend, to),
            Fate::Refused(code) | Fate::Half(code) => {
                *to = ptr::null_mut();
                code
            }
        }
    }
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        // Giving a lock back cannot fail: SQLite does not look.
        if flags & ffi::SQLITE_SHM_LOCK != 0 {
            match own(file).plan.fate(Operation::LockMemory, own(file).stored) {
                Fate::Done => {}
                Fate::Refused(code) | Fate::Half(code) => return code,
            }
        }
        pass_on!(file, xShmLock, offset, count, flags)
    }
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: as said at the top.
    unsafe {
        let (below, methods) = below(file);
        if let Some(barrier) = methods.xShmBarrier {
            barrier(below);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_on!(file, xShmUnmap, delete) }
}

/// No page is mapped, so that every read can fail.
unsafe extern "C" fn fetch(_: *mut sqlite3_file, _: sqlite3_int64, _: c_int, page: *mut *mut c_void) -> c_int {
    // SAFETY: as said at the top.
    unsafe { *page = ptr::null_mut() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn unfetch(_: *mut sqlite3_file, _: sqlite3_int64, _: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe {
        let (plan, path) = (&registered(vfs).plan, path_of(name));
        let log = path.as_ref().is_some_and(|path| path.as_os_str().as_encoded_bytes().ends_with(b"-wal"));
        match plan.fate(Operation::Delete, if log { Stored::Log } else { Stored::Other }) {
            Fate::Done => {}
            Fate::Refused(code) | Fate::Half(code) => return code,
        }
        let code = pass_down!(vfs, xDelete, name, sync_folder);
        if code == ffi::SQLITE_OK
            && let Some(path) = path
        {
            plan.deleted(&path);
        }
        code
    }
}

unsafe extern "C" fn access(vfs: *mut sqlite3_vfs, name: *const c_char, flags: c_int, found: *mut c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xAccess, name, flags, found) }
}

unsafe extern "C" fn full_pathname(vfs: *mut sqlite3_vfs, name: *const c_char, size: c_int, to: *mut c_char) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xFullPathname, name, size, to) }
}

unsafe extern "C" fn randomness(vfs: *mut sqlite3_vfs, size: c_int, to: *mut c_char) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xRandomness, size, to) }
}

unsafe extern "C" fn sleep(vfs: *mut sqlite3_vfs, micros: c_int) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xSleep, micros) }
}

unsafe extern "C" fn current_time(vfs: *mut sqlite3_vfs, now: *mut f64) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xCurrentTime, now) }
}

unsafe extern "C" fn current_time_int64(vfs: *mut sqlite3_vfs, now: *mut sqlite3_int64) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xCurrentTimeInt64, now) }
}

unsafe extern "C" fn get_last_error(vfs: *mut sqlite3_vfs, size: c_int, to: *mut c_char) -> c_int {
    // SAFETY: as said at the top.
    unsafe { pass_down!(vfs, xGetLastError, size, to) }
}

const _: () = assert!(mem::align_of::<File>() <= 16, "the file below is aligned to 16 bytes");
