//! The store of notes: its tables, its content, its copy.

use super::{files::Files, text};
use crate::{interrupt, problem::Problem};
use ecm::{
    ConnectionManager, Failure,
    sqlite::{
        Tx,
        rusqlite::{self, Connection, MAIN_DB, OpenFlags, backup::Progress, params},
    },
};
use fastrand::Rng;
use std::{fmt::Display, path::Path};

const SCHEMA: &str = "
CREATE TABLE notes (
    id         INTEGER PRIMARY KEY,
    title      TEXT NOT NULL,
    body       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    importance INTEGER NOT NULL CHECK (importance BETWEEN 1 AND 10),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_by_update ON notes (updated_at);
CREATE INDEX notes_by_kind ON notes (kind, importance);
CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE note_tags (
    tag_id  INTEGER NOT NULL REFERENCES tags,
    note_id INTEGER NOT NULL REFERENCES notes ON DELETE CASCADE,
    PRIMARY KEY (tag_id, note_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX note_tags_by_note ON note_tags (note_id);
CREATE TABLE links (
    from_id  INTEGER NOT NULL REFERENCES notes ON DELETE CASCADE,
    to_id    INTEGER NOT NULL REFERENCES notes ON DELETE CASCADE,
    relation TEXT NOT NULL,
    PRIMARY KEY (from_id, to_id, relation)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_target ON links (to_id);
CREATE VIRTUAL TABLE notes_text USING fts5 (title, body, content = 'notes', content_rowid = 'id');
CREATE TRIGGER notes_inserted AFTER INSERT ON notes BEGIN
    INSERT INTO notes_text (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
CREATE TRIGGER notes_deleted AFTER DELETE ON notes BEGIN
    INSERT INTO notes_text (notes_text, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
END;
CREATE TRIGGER notes_edited AFTER UPDATE OF title, body ON notes BEGIN
    INSERT INTO notes_text (notes_text, rowid, title, body) VALUES ('delete', old.id, old.title, old.body);
    INSERT INTO notes_text (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
";

/// When the first note was made, in seconds since 1970: fixed, so that a seed gives the same files.
const EPOCH: i64 = 1_700_000_000;
const BATCH: u64 = 1000;

/// A note to be written, with its tags and its links to earlier notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewNote {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) kind: &'static str,
    pub(super) importance: i64,
    pub(super) at: i64,
    tags: Vec<i64>,
    links: Vec<(i64, &'static str)>,
}

impl NewNote {
    /// A note that may link to those from 1 to `newest`.
    pub(super) fn random(random: &mut Rng, newest: i64) -> Self {
        let tags = (0..random.usize(1..4)).map(|_| random.i64(1..=text::TAGS)).collect();
        let links = if newest == 0 { 0 } else { random.usize(..3) };
        Self {
            title: text::title(random),
            body: text::body(random),
            kind: text::KINDS[random.usize(..text::KINDS.len())],
            importance: random.i64(1..=10),
            at: EPOCH + newest,
            tags,
            links: (0..links)
                .map(|_| (random.i64(1..=newest), text::RELATIONS[random.usize(..text::RELATIONS.len())]))
                .collect(),
        }
    }

    /// Writes it, and answers its id.
    pub(super) fn insert(&self, tx: &Tx) -> Result<i64, Failure> {
        let Self { title, body, kind, importance, at, tags, links } = self;
        tx.prepare_cached(
            "INSERT INTO notes (title, body, kind, importance, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )?
        .execute(params![title, body, kind, importance, at])?;
        let id = tx.last_insert_rowid();
        let mut tag_it = tx.prepare_cached("INSERT OR IGNORE INTO note_tags (tag_id, note_id) VALUES (?1, ?2)")?;
        for tag in tags {
            tag_it.execute(params![tag, id])?;
        }
        let mut link =
            tx.prepare_cached("INSERT OR IGNORE INTO links (from_id, to_id, relation) VALUES (?1, ?2, ?3)")?;
        for (to, relation) in links {
            link.execute(params![id, to, relation])?;
        }
        Ok(id)
    }
}

/// Makes the tables and the tags.
pub(super) fn create(manager: &ConnectionManager) -> Result<(), ecm::Error> {
    manager
        .write(|tx| {
            tx.execute_batch(SCHEMA)?;
            for number in 1..=text::TAGS {
                tx.execute("INSERT INTO tags (id, name) VALUES (?1, ?2)", params![number, text::tag(number)])?;
            }
            Ok(())
        })
        .wait()
}

/// Fills the store with notes; answers how many there are, fewer than asked for after Ctrl-C.
pub(super) fn fill(
    manager: &ConnectionManager,
    rows: u64,
    seed: u64,
    mut filled: impl FnMut(u64),
) -> Result<u64, ecm::Error> {
    let mut random = Rng::with_seed(seed);
    let mut done = 0;
    while done < rows && !interrupt::requested() {
        let batch = BATCH.min(rows - done);
        // The closure may run again, and has to write the same notes then.
        let notes: Vec<_> = (0..batch).map(|number| NewNote::random(&mut random, (done + number) as i64)).collect();
        manager.write(|tx| notes.iter().try_for_each(|note| note.insert(tx).map(drop))).wait()?;
        done += batch;
        filled(done);
    }
    Ok(done)
}

/// Copies the primary to the replica while the primary is in use, by SQLite's online backup.
pub(super) fn copy(manager: &ConnectionManager, files: &Files) -> Result<(), Problem> {
    let failed = |error: &dyn Display| Problem::failure(format_args!("the copy to the replica failed: {error}"));
    let mut primary = manager.connection().wait().map_err(|error| failed(&error))?;
    let silent = None::<fn(Progress)>;
    primary.raw().backup(MAIN_DB, files.replica(), silent).map_err(|error| failed(&error))
}

/// What was found in the primary after everything was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// What `PRAGMA integrity_check` says: `ok`, or what is wrong.
    pub(super) integrity: String,
    pub(super) notes: u64,
}

/// What `PRAGMA integrity_check` says of a file: `ok`, or what is wrong.
pub(super) fn integrity(file: &Path) -> Result<String, Problem> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags)
        .and_then(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .map_err(|error| Problem::failure(format_args!("checking {} failed: {error}", file.display())))
}

/// Looks into the primary by a connection of its own.
pub(super) fn look(files: &Files) -> Result<Found, rusqlite::Error> {
    let connection = Connection::open(files.primary())?;
    let integrity = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let notes: i64 = connection.query_row("SELECT count(*) FROM notes", [], |row| row.get(0))?;
    Ok(Found { integrity, notes: notes.unsigned_abs() })
}
