//! Two stores that are saved together: notes, and the tags of notes, in one unit of work.
//!
//! `cargo run --example unit_of_work`

use ecm::{ConnectionManager, Failure, Store, UnitOfWork, sqlite::rusqlite::params};
use std::{
    cell::RefCell,
    error::Error,
    io::{Write, stdout},
    sync::mpsc::{Receiver, Sender, channel},
};

const SCHEMA: &str = "
    CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
    CREATE TABLE tag (note INTEGER NOT NULL REFERENCES note, name TEXT NOT NULL, PRIMARY KEY (note, name));
    CREATE TABLE journal (entry TEXT NOT NULL);";

/// Notes, as one unit of work sees them.
struct Notes<'u>(UnitOfWork<'u>);

/// The tags of notes, as one unit of work sees them.
struct Tags<'u>(UnitOfWork<'u>);

/// What both stores have written, for the journal.
#[derive(Default)]
struct Written(RefCell<Vec<String>>);

impl<'u> Store<'u> for Notes<'u> {
    fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

impl<'u> Store<'u> for Tags<'u> {
    fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

impl Notes<'_> {
    fn add(&self, title: &str) -> Result<i64, Failure> {
        self.0.execute("INSERT INTO note (title) VALUES (?1)", [title])?;
        self.0.shared::<Written>().0.borrow_mut().push(format!("note {title}"));
        Ok(self.0.last_insert_rowid())
    }
}

impl Tags<'_> {
    fn add(&self, note: i64, name: &str) -> Result<(), Failure> {
        self.0.execute("INSERT INTO tag VALUES (?1, ?2)", params![note, name])?;
        self.0.shared::<Written>().0.borrow_mut().push(format!("tag {name}"));
        Ok(())
    }
}

/// The program's notebook: what other parts of it call.
struct Notebook {
    manager: ConnectionManager,
    saved: Sender<String>,
}

impl Notebook {
    /// An empty one, and where it tells the titles of notes that are on record.
    fn new() -> Result<(Self, Receiver<String>), Box<dyn Error>> {
        let manager = ConnectionManager::open(":memory:")?;
        manager.write(|tx| Ok(tx.execute_batch(SCHEMA)?)).wait()?;
        let (saved, titles) = channel();
        Ok((Self { manager, saved }, titles))
    }

    /// Saves a note with all of its tags, or nothing of it. Tags that nobody can do without come first; of
    /// the others those are left out that cannot be saved.
    fn save(&self, title: &str, tags: &[&str], more: &[&str]) -> Result<i64, ecm::Error> {
        let unit = self.manager.unit_of_work(|uow| {
            let (notes, stored) = (uow.store::<Notes>()?, uow.store::<Tags>()?);
            let id = notes.add(title)?;
            for tag in tags {
                stored.add(id, tag)?;
            }
            for tag in more {
                // Undone alone if it fails.
                let _left_out = uow.nested(|_| stored.add(id, tag));
            }
            uow.before_commit(|uow| {
                let written = uow.shared::<Written>().0.take().join(", ");
                uow.execute("INSERT INTO journal VALUES (?1)", [written])?;
                Ok(())
            });
            let (title, saved) = (title.to_owned(), self.saved.clone());
            uow.after_commit(move |_position| {
                // Nobody may be listening any more.
                let _nobody = saved.send(title);
            });
            Ok(id)
        });
        unit.wait()
    }

    fn count(&self, table: &str) -> Result<i64, ecm::Error> {
        self.manager.query(&format!("SELECT count(*) FROM {table}")).one().wait()
    }

    fn journal(&self) -> Result<Vec<String>, ecm::Error> {
        self.manager.query("SELECT entry FROM journal ORDER BY rowid").all().wait()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (notebook, titles) = Notebook::new()?;
    let id = notebook.save("bread", &["food", "brown"], &["food", "breakfast"])?;
    writeln!(stdout(), "saved {:?} as {id}; the second `food` was left out", titles.try_recv()?)?;
    let error = notebook.save("milk", &["food", "food"], &[]).expect_err("a note has each tag once");
    writeln!(stdout(), "not saved: {error}")?;
    writeln!(
        stdout(),
        "{} note, {} tags, journal: {:?}",
        notebook.count("note")?,
        notebook.count("tag")?,
        notebook.journal()?
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_saved_with_its_tags_or_not_at_all() {
        let (notebook, titles) = Notebook::new().unwrap();
        assert_eq!(notebook.save("bread", &["food", "brown"], &["food", "breakfast"]).unwrap(), 1);
        let error = notebook.save("milk", &["food", "food"], &[]).unwrap_err();
        assert!(error.to_string().contains("UNIQUE"), "{error}");
        assert_eq!((notebook.count("note").unwrap(), notebook.count("tag").unwrap()), (1, 3));
        assert_eq!(notebook.journal().unwrap(), ["note bread, tag food, tag brown, tag breakfast"]);
        assert_eq!(titles.try_iter().collect::<Vec<_>>(), ["bread"], "nobody hears of what is not saved");
    }
}
