use ecm_core::{Error, Kind};

/// The first SQLite without the WAL-reset bug, as `sqlite3_libversion_number` counts.
const OLDEST: i32 = 3_051_003;

/// Refuses an SQLite that can damage a file which several connections write and checkpoint.
pub(crate) fn check_version(number: i32) -> Result<(), Error> {
    if number >= OLDEST {
        return Ok(());
    }
    let dotted = |number: i32| format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000);
    Err(Error::new(
        Kind::Invalid,
        format_args!(
            "the linked SQLite is {}, and {} or later is needed: older ones can corrupt a database in WAL mode when \
             a checkpoint meets a commit that resets the log; link a newer one, or switch on the feature `bundled`",
            dotted(number),
            dotted(OLDEST),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_with_the_wal_reset_bug_is_refused_by_both_versions_and_the_reason() {
        let error = check_version(3_051_002).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        for part in ["3.51.2", "3.51.3", "corrupt", "WAL", "`bundled`"] {
            assert!(error.to_string().contains(part), "{part} is missing in: {error}");
        }
        assert!(check_version(3_040_001).is_err());
        assert!(check_version(0).is_err());
    }

    #[test]
    fn the_first_repaired_and_every_later_sqlite_is_accepted() {
        for number in [3_051_003, 3_053_000, 3_054_001, 4_000_000, rusqlite::version_number()] {
            assert!(check_version(number).is_ok(), "{number}");
        }
    }
}
