/// How many rows the table has.
pub const ROWS: i64 = 100_000;

/// How long a value is, in bytes.
pub const VALUE_BYTES: usize = 66;

/// Makes the table.
pub const CREATE: &str = "CREATE TABLE kv (k INTEGER PRIMARY KEY, v TEXT NOT NULL)";
/// Adds a row.
pub const INSERT: &str = "INSERT INTO kv VALUES (?1, ?2)";
/// The read: one row by its key.
pub const READ: &str = "SELECT v FROM kv WHERE k = ?1";
/// The write: one row by its key, which keeps its length.
pub const WRITE: &str = "UPDATE kv SET v = ?2 WHERE k = ?1";

/// The pragmas of every connection, besides `synchronous`: what ECM sets by default.
pub const PRAGMAS: [(&str, &str); 7] = [
    ("busy_timeout", "30000"),
    ("journal_mode", "WAL"),
    ("foreign_keys", "1"),
    ("cache_size", "-20000"),
    ("temp_store", "2"),
    ("mmap_size", "536870912"),
    ("wal_autocheckpoint", "1000"),
];

/// What is read back from a connection of every system.
pub const READ_BACK: [&str; 8] = [
    "journal_mode",
    "synchronous",
    "page_size",
    "cache_size",
    "mmap_size",
    "temp_store",
    "wal_autocheckpoint",
    "foreign_keys",
];

/// The value that a row is filled with; negative numbers are values that no row is filled with.
#[must_use]
pub fn value(key: i64) -> String {
    format!("{key:0>VALUE_BYTES$}")
}

/// Keys in an order that looks random and is the same in every run: caller `n` of each system asks for the
/// same ones.
#[derive(Clone, Debug)]
pub struct Keys(u64);

impl Keys {
    /// The keys of one caller.
    #[must_use]
    pub fn of(caller: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (caller as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next key, from 1 to [`ROWS`].
    pub fn next_key(&mut self) -> i64 {
        let random = self.next_random() >> 33;
        (random % ROWS.unsigned_abs()).cast_signed() + 1
    }

    pub(crate) fn next_random(&mut self) -> u64 {
        // xorshift64* (Vigna, 2016)
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_same_length() {
        assert!([1, 77, ROWS, -1, -1_008].iter().all(|&key| value(key).len() == VALUE_BYTES));
    }

    #[test]
    fn callers_ask_for_rows_that_exist_and_each_in_an_order_of_its_own() {
        let keys = |caller| {
            std::iter::repeat_with({
                let mut keys = Keys::of(caller);
                move || keys.next_key()
            })
        };
        assert!((0..64).all(|caller| keys(caller).take(1_000).all(|key| (1..=ROWS).contains(&key))));
        assert_ne!(keys(0).take(9).collect::<Vec<_>>(), keys(1).take(9).collect::<Vec<_>>());
        assert_eq!(keys(3).take(9).collect::<Vec<_>>(), keys(3).take(9).collect::<Vec<_>>());
    }
}
