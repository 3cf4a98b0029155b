/// The tables of the house: what the rules compare the workspace with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct House {
    /// Each crate with those of the workspace that it may depend on.
    pub(crate) may_know: &'static [(&'static str, &'static [&'static str])],
    /// Each foreign crate that is spoken to in one place, with the crates that may.
    pub(crate) doors: &'static [(&'static str, &'static [&'static str])],
    /// The crate that requires no other and re-exports nothing foreign.
    pub(crate) core: &'static str,
    /// The files that may hold unsafe code, each with what it is needed for.
    pub(crate) unsafe_files: &'static [(&'static str, &'static str)],
    /// The files that may be longer than [`max_lines`](House::max_lines), each with the reason.
    pub(crate) long_files: &'static [(&'static str, &'static str)],
    /// The greatest length of a source file, in lines.
    pub(crate) max_lines: usize,
    /// The greatest length of a `lib.rs`, in lines that are neither blank nor documentation.
    pub(crate) max_lib_lines: usize,
}

/// The house as it is.
pub(crate) const HOUSE: House = House {
    may_know: &[
        ("ecm-core", &[]),
        ("ecm-pool", &["ecm-core"]),
        ("ecm-balancer", &["ecm-core"]),
        ("ecm-breaker", &["ecm-core"]),
        ("ecm-cache", &["ecm-core"]),
        ("ecm-metrics", &["ecm-core"]),
        ("ecm-sqlite", &["ecm-core"]),
        ("ecm", &["ecm-core", "ecm-pool", "ecm-balancer", "ecm-breaker", "ecm-cache", "ecm-metrics", "ecm-sqlite"]),
        ("ecm-admin", &["ecm"]),
        ("ecm-cli", &["ecm", "ecm-admin"]),
        ("xtask", &[]),
    ],
    doors: &[
        ("rusqlite", &["ecm-sqlite"]),
        ("libsqlite3-sys", &["ecm-sqlite"]),
        ("sqlite3-parser", &["ecm-sqlite"]),
        ("rustix", &["ecm-sqlite"]),
        ("prometheus-client", &["ecm-metrics"]),
        ("quick_cache", &["ecm-cache"]),
        ("crossbeam-utils", &["ecm-cache"]),
        ("dashmap", &["ecm-cache"]),
        ("hashlink", &["ecm-cache"]),
        ("arc-swap", &["ecm"]),
        ("axum", &["ecm-admin", "ecm-cli"]),
        ("tokio", &["ecm-admin", "ecm-cli"]),
    ],
    core: "ecm-core",
    unsafe_files: &[
        ("bench/src/slow_vfs.rs", "a VFS, which is a table of C functions"),
        ("bench/workload/src/allocations.rs", "an allocator that counts"),
        ("ecm-sqlite/src/anchor.rs", "threads without a connection look at the memory of the state of the log"),
        (
            "ecm-sqlite/src/engine.rs",
            "owns a connection with the raw statements that begin and end its transactions, and its wal-index",
        ),
        ("ecm-pool/src/barrier.rs", "a barrier in every thread is a call of the system, which no crate wraps"),
        ("ecm-pool/src/cell.rs", "what is in a slot belongs to whoever has its key, without a lock"),
        ("ecm-sqlite/src/handle.rs", "four functions of SQLite that rusqlite does not wrap"),
        ("ecm-sqlite/src/kept.rs", "keeps statements beside the connection that they borrow"),
        ("ecm-sqlite/src/leaked.rs", "finds and resets the statements that a borrower has leaked"),
        ("ecm-sqlite/src/mapping.rs", "how a file is mapped is decided by its table of C functions"),
        ("ecm-sqlite/src/statistics.rs", "a setting of SQLite's for the whole process that rusqlite does not wrap"),
        ("ecm-sqlite/tests/statistics.rs", "calls that setting, as the first to use SQLite"),
        (
            "ecm-sqlite/src/testing/shim.rs",
            "a file system of SQLite's that tests can make fail is a table of C functions",
        ),
        ("ecm-sqlite/src/wal_index.rs", "finds the memory in which SQLite shares the state of the log, and reads it"),
    ],
    long_files: &[],
    max_lines: 600,
    max_lib_lines: 150,
};

/// The packages of the workspace that hold unsafe code, in the order of the list. `bench` is a workspace of its own,
/// and is not published.
pub(crate) fn packages_with_unsafe_code(house: &House) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for (path, _) in house.unsafe_files {
        let package = path.split('/').next().unwrap_or(path);
        if package != "bench" && !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_two_unsafe_files_is_named_once() {
        let house = House { unsafe_files: &[("a/src/x.rs", ""), ("b/src/y.rs", ""), ("a/src/z.rs", "")], ..HOUSE };
        assert_eq!(packages_with_unsafe_code(&house), ["a", "b"]);
    }

    #[test]
    fn whoever_may_be_known_has_a_line_of_its_own() {
        for (name, known) in HOUSE.may_know {
            for other in *known {
                assert!(HOUSE.may_know.iter().any(|(line, _)| line == other), "{name} may know {other}");
            }
        }
    }
}
