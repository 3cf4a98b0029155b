use super::{store::NewNote, text};
use ecm::{ConnectionManager, Error, Failure};
use fastrand::Rng;
use serde::Deserialize;

/// What a thread of the load does next: one call, of those that a program with a memory makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    ReadNote,
    Search,
    ListTag,
    Neighbours,
    Recent,
    Count,
    NewNote,
    Edit,
    Touch,
}

/// Every operation with its share in percent: nine reads to one write.
const SHARES: [(Operation, u8); 9] = [
    (Operation::ReadNote, 45),
    (Operation::Search, 10),
    (Operation::ListTag, 10),
    (Operation::Neighbours, 10),
    (Operation::Recent, 10),
    (Operation::Count, 5),
    (Operation::NewNote, 4),
    (Operation::Edit, 3),
    (Operation::Touch, 3),
];

/// A row of `notes`, as a program would hold it.
#[derive(Debug, Deserialize)]
struct Note {
    id: i64,
    title: String,
    body: String,
    kind: String,
    importance: i64,
    created_at: i64,
    updated_at: i64,
}

impl Operation {
    /// Every operation, in the order of its place in a report.
    pub(super) const ALL: [Self; SHARES.len()] = {
        let mut all = [Self::ReadNote; SHARES.len()];
        let mut place = 0;
        while place < all.len() {
            all[place] = SHARES[place].0;
            place += 1;
        }
        all
    };

    pub(super) fn random(random: &mut Rng) -> Self {
        let mut left = random.u8(..100);
        for (operation, share) in SHARES {
            if left < share {
                return operation;
            }
            left -= share;
        }
        Self::ReadNote
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ReadNote => "read a note",
            Self::Search => "search the text",
            Self::ListTag => "list a tag",
            Self::Neighbours => "linked notes",
            Self::Recent => "recent notes",
            Self::Count => "count a kind",
            Self::NewNote => "new note (write)",
            Self::Edit => "edit (write)",
            Self::Touch => "importance (write)",
        }
    }

    /// Runs it on the notes from 1 to `rows`: those that the replica has as well.
    pub(super) fn run(self, manager: &ConnectionManager, random: &mut Rng, rows: i64) -> Result<(), Error> {
        let id = random.i64(1..=rows);
        match self {
            Self::ReadNote => {
                let sql = "SELECT id, title, body, kind, importance, created_at, updated_at FROM notes WHERE id = ?1";
                let note: Note = manager.query(sql).bind(id).one().wait()?;
                note.check(id).map_err(|failure| Error::new(ecm::Kind::Closure, failure))
            }
            Self::Search => {
                let words = if random.bool() {
                    text::name(random)
                } else {
                    format!("{} {}", text::common_word(random), text::name(random))
                };
                let sql = "SELECT n.id, n.title FROM notes_text JOIN notes n ON n.id = notes_text.rowid \
                           WHERE notes_text MATCH ?1 ORDER BY rank LIMIT 10";
                manager.query(sql).bind(words).all::<(i64, String)>().wait().map(drop)
            }
            Self::ListTag => {
                let sql = "SELECT n.id, n.title, t.name FROM tags t JOIN note_tags nt ON nt.tag_id = t.id \
                           JOIN notes n ON n.id = nt.note_id WHERE t.id = ?1 ORDER BY nt.note_id DESC LIMIT 20";
                manager.query(sql).bind(random.i64(1..=text::TAGS)).all::<(i64, String, String)>().wait().map(drop)
            }
            Self::Neighbours => {
                let sql = "SELECT n.id, n.title, l.relation FROM links l JOIN notes n ON n.id = l.to_id WHERE l.from_id = ?1 \
                           UNION ALL \
                           SELECT n.id, n.title, l.relation FROM links l JOIN notes n ON n.id = l.from_id WHERE l.to_id = ?1 \
                           LIMIT 20";
                manager.query(sql).bind(id).all::<(i64, String, String)>().wait().map(drop)
            }
            Self::Recent => {
                let sql = "SELECT id, title, updated_at FROM notes ORDER BY updated_at DESC LIMIT 20";
                manager.query(sql).all::<(i64, String, i64)>().wait().map(drop)
            }
            Self::Count => {
                let kind = text::KINDS[random.usize(..text::KINDS.len())];
                let sql = "SELECT count(*) FROM notes WHERE kind = ?1 AND importance >= 9";
                manager.query(sql).bind(kind).one::<i64>().wait().map(drop)
            }
            Self::NewNote => {
                let note = NewNote::random(random, rows);
                manager.write(|tx| note.insert(tx)).wait().map(drop)
            }
            Self::Edit => {
                let sql = "UPDATE notes SET body = ?2, updated_at = updated_at + 1 WHERE id = ?1";
                let changes = manager.execute(sql).bind(id).bind(text::body(random)).wait()?;
                one_row(changes.rows)
            }
            Self::Touch => {
                let sql = "UPDATE notes SET importance = ?2, updated_at = updated_at + 1 WHERE id = ?1";
                let changes = manager.execute(sql).bind(id).bind(random.i64(1..=10)).wait()?;
                one_row(changes.rows)
            }
        }
    }
}

impl Note {
    /// Whether the row is the one that was asked for, and whole.
    fn check(&self, id: i64) -> Result<(), Failure> {
        let whole = !self.title.is_empty() && !self.body.is_empty() && text::KINDS.contains(&&*self.kind);
        let sane = (1..=10).contains(&self.importance) && self.updated_at >= self.created_at;
        if self.id == id && whole && sane {
            Ok(())
        } else {
            Err(Failure::msg(format_args!("note {id} came back as {self:?}")))
        }
    }
}

fn one_row(changed: u64) -> Result<(), Error> {
    let wrong = || Error::new(ecm::Kind::Closure, format_args!("an update of one note changed {changed} rows"));
    if changed == 1 { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_a_hundred_and_one_in_ten_is_a_write() {
        assert_eq!(SHARES.iter().map(|(_, share)| u32::from(*share)).sum::<u32>(), 100);
        let writes = SHARES.iter().filter(|(operation, _)| operation.name().contains("write"));
        assert_eq!(writes.map(|(_, share)| share).sum::<u8>(), 10);
    }
}
