#![expect(unsafe_code, reason = "a VFS is a table of C functions")]
//! A VFS that is SQLite's own, except that a sync takes [`SYNC_DELAY`] at least: a disk that is slow to
//! acknowledge, on a machine whose disk is not.
//!
//! Only `xSync` is exchanged, in a copy of the table of functions that each opened file points to. Everything
//! else, the shared memory of the log included, goes to SQLite's own code with SQLite's own file, so that
//! nothing but a sync is slower. This file is compiled into every program of the comparison, each with the
//! bindings of its own SQLite.

use crate::ffi;
use std::{
    ffi::{CString, c_char, c_int},
    ptr,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::Instant,
};
use workload::{SYNC_DELAY, SYNC_VFS, record_sync};

type Open =
    unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *const c_char, *mut ffi::sqlite3_file, c_int, *mut c_int) -> c_int;

/// How SQLite's own VFS opens a file.
static REAL_OPEN: OnceLock<Open> = OnceLock::new();

/// The tables that were copied, by the address of the original. A process meets a handful.
static TABLES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// A table of functions with a slow `xSync`, followed by the original.
#[repr(C)]
struct Slow {
    methods: ffi::sqlite3_io_methods,
    real: *const ffi::sqlite3_io_methods,
}

/// Registers the VFS under the name [`SYNC_VFS`], not as the default one. Doing it again is harmless.
pub(crate) fn register() -> Result<(), String> {
    let name = CString::new(SYNC_VFS).map_err(|error| error.to_string())?;
    // SAFETY: SQLite may be called from any thread once it is initialised, which both functions do; a null name
    // asks for the default VFS.
    let (known, default) = unsafe {
        ffi::sqlite3_initialize();
        (ffi::sqlite3_vfs_find(name.as_ptr()), ffi::sqlite3_vfs_find(ptr::null()))
    };
    if !known.is_null() {
        return Ok(());
    }
    if default.is_null() {
        return Err("SQLite has no VFS".into());
    }
    // SAFETY: a registered VFS stays as it is for the life of the process. A bitwise copy is a valid VFS with
    // another name: SQLite's own keeps no state beside `pAppData`, which copies share.
    let mut copy = unsafe { ptr::read(default) };
    let Some(open) = copy.xOpen else { return Err("the VFS of SQLite opens nothing".into()) };
    REAL_OPEN.get_or_init(|| open);
    copy.pNext = ptr::null_mut();
    copy.zName = name.into_raw();
    copy.xOpen = Some(open_slow);
    // SAFETY: the copy and its name are leaked, so they live as long as they are registered: for ever.
    let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(copy)), 0) };
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(format!("the VFS was not registered: code {code}")) }
}

/// Opens as SQLite's own VFS does, then exchanges the table of functions.
///
/// # Safety
/// As `sqlite3_vfs.xOpen`: `file` points to `szOsFile` bytes, and so on. Called by SQLite alone.
unsafe extern "C" fn open_slow(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(open) = REAL_OPEN.get() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: the arguments are those that SQLite gave for a VFS which is a copy of the one that `open` is of.
    let code = unsafe { open(vfs, name, file, flags, out_flags) };
    // SAFETY: `open` has initialised the head of `file`; its table is null or a static of SQLite's.
    let real = unsafe { (*file).pMethods };
    if code == ffi::SQLITE_OK && !real.is_null() {
        // SAFETY: `real` is a valid table, as above, and the copy is never freed.
        unsafe { (*file).pMethods = slow_copy_of(real) };
    }
    code
}

/// The copy of a table with a slow `xSync`; made once for each table.
///
/// # Safety
/// `real` points to a table that lives for ever.
unsafe fn slow_copy_of(real: *const ffi::sqlite3_io_methods) -> *const ffi::sqlite3_io_methods {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&(_, copy)) = tables.iter().find(|(original, _)| *original == real as usize) {
        return copy as *const ffi::sqlite3_io_methods;
    }
    // SAFETY: the table is plain data that the caller says is there.
    let mut methods = unsafe { ptr::read(real) };
    methods.xSync = Some(sync_slowly);
    let copy: *const Slow = Box::into_raw(Box::new(Slow { methods, real }));
    tables.push((real as usize, copy as usize));
    copy.cast()
}

/// Syncs, and returns no earlier than [`SYNC_DELAY`] after it was called.
///
/// It sleeps, and does not spin at the end: a real disk takes no time of the processor. How long it has really
/// taken is recorded.
///
/// # Safety
/// As `sqlite3_io_methods.xSync`, for a file whose table is a [`Slow`]. Called by SQLite alone.
unsafe extern "C" fn sync_slowly(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let began = Instant::now();
    // SAFETY: only tables of `slow_copy_of` have this function, and each is the head of a `Slow`.
    let real = unsafe { (*(*(*file).pMethods.cast::<Slow>()).real).xSync };
    let Some(real) = real else { return ffi::SQLITE_IOERR_FSYNC };
    // SAFETY: the file is the one that the original table belongs to.
    let code = unsafe { real(file, flags) };
    thread::sleep(SYNC_DELAY.saturating_sub(began.elapsed()));
    record_sync(began.elapsed());
    code
}
