use super::{driver, driver::told, ecm, r2d2};
use std::any::Any;
use workload::{Keys, Settings};

/// Connections of a system that have all been read from, and are idle until this is dropped.
pub(crate) struct Readers {
    /// How many are open.
    pub(crate) open: usize,
    _kept: Box<dyn Any>,
}

impl Readers {
    pub(super) fn new(open: usize, kept: impl Any) -> Self {
        Self { open, _kept: Box::new(kept) }
    }
}

/// Opens so many readers at once, each of which reads so many rows.
pub(crate) fn readers(system: &str, settings: &Settings, count: usize, reads: usize) -> Result<Readers, String> {
    match system {
        "ecm" => ecm::readers(settings, count, reads),
        "r2d2" => r2d2::readers(settings, count, reads),
        "rusqlite" => {
            let opened = (0..count).map(|number| {
                let connection = told(driver::bare(&settings.path))?;
                read_rows(&connection, number, reads)?;
                Ok(connection)
            });
            let opened = opened.collect::<Result<Vec<_>, String>>()?;
            Ok(Readers::new(opened.len(), opened))
        }
        _ => Err(format!("there is no system {system} here")),
    }
}

/// What reader `number` reads: the same rows in each system.
pub(super) fn keys(number: usize, reads: usize) -> impl Iterator<Item = i64> {
    let mut keys = Keys::of(number);
    (0..reads).map(move |_| keys.next_key())
}

pub(super) fn read_rows(connection: &rusqlite::Connection, number: usize, reads: usize) -> Result<(), String> {
    keys(number, reads).try_for_each(|key| told(driver::read(connection, key)).map(drop))
}
