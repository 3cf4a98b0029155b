use crate::problem::Problem;
use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

/// What every page begins with while the file is damaged: no kind of page that SQLite knows.
const GARBAGE: [u8; 4] = [0xA5; 4];

/// Where the first page keeps what the others keep at their beginning: after the header of the file.
const FIRST_PAGE_OFFSET: u64 = 100;

/// Damage to a file, done by a process of its own: this one has the file open by SQLite, and closing
/// any other descriptor of it would drop every lock that SQLite holds on it.
///
/// The damage is mended by [`mend`](Damage::mend), or when this is dropped, or when this process ends.
#[derive(Debug)]
pub(super) struct Damage(Child);

impl Damage {
    /// Puts garbage at the beginning of every page; returns when it is there.
    pub(super) fn of(file: &Path) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("damage").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Out of reach of Ctrl-C, which would end it before it has mended.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let mut done = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut done)?;
        }
        let damage = Self(child);
        if done.is_empty() {
            return Err(io::Error::other("the process that was to do the damage ended without a word"));
        }
        Ok(damage)
    }

    /// What this process does, whatever that is.
    #[cfg(all(test, unix))]
    pub(super) fn by(process: Child) -> Self {
        Self(process)
    }

    /// Puts back what was there; returns when it is.
    pub(super) fn mend(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("mending failed: {status}"))) }
    }
}

impl Drop for Damage {
    fn drop(&mut self) {
        if self.0.stdin.is_some() {
            // Whoever did not ask for mending is on the way out, with a reason of its own to tell.
            let _told_elsewhere = self.end();
        }
    }
}

/// What the other process does: damages the file, says so in one line, and mends it when its standard
/// input is closed.
pub(crate) fn run(file: &Path) -> Result<ExitCode, Problem> {
    let failed = |error: io::Error| Problem::failure(format_args!("{}: {error}", file.display()));
    let mut open = OpenOptions::new().read(true).write(true).open(file).map_err(failed)?;
    damaged_while(&mut open, || {
        crate::output::print("damaged\n")?;
        io::stdin().lock().read_to_end(&mut Vec::new()).map_err(failed)
    })
    .map_err(failed)??;
    Ok(ExitCode::SUCCESS)
}

/// Damages the file, does something, and mends the file, whatever became of either.
fn damaged_while<T>(file: &mut File, act: impl FnOnce() -> T) -> io::Result<T> {
    let page_size = page_size(file)?;
    let mut before = Vec::new();
    let acted = damage(file, page_size, &mut before).map(|()| act());
    for (page, bytes) in before.iter().enumerate() {
        file.seek(SeekFrom::Start(place_in(page, page_size)))?;
        file.write_all(bytes)?;
    }
    acted
}

/// Puts garbage at the beginning of every page; adds to `before` what is there, before it is gone.
fn damage(file: &mut File, page_size: u64, before: &mut Vec<[u8; 4]>) -> io::Result<()> {
    let pages = usize::try_from(file.metadata()?.len() / page_size).map_err(io::Error::other)?;
    for page in 0..pages {
        let mut bytes = [0; 4];
        file.seek(SeekFrom::Start(place_in(page, page_size)))?;
        file.read_exact(&mut bytes)?;
        before.push(bytes);
        file.seek(SeekFrom::Start(place_in(page, page_size)))?;
        file.write_all(&GARBAGE)?;
    }
    Ok(())
}

/// Where the damage of a page begins.
fn place_in(page: usize, page_size: u64) -> u64 {
    if page == 0 { FIRST_PAGE_OFFSET } else { page as u64 * page_size }
}

/// From the header of the file: <https://sqlite.org/fileformat2.html#page_size>.
fn page_size(file: &mut File) -> io::Result<u64> {
    let mut header = [0; 18];
    file.rewind()?;
    file.read_exact(&mut header)?;
    let size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let known = header.starts_with(b"SQLite format 3\0") && size >= 512;
    if known { Ok(size) } else { Err(io::Error::other("not a SQLite database")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm::sqlite::rusqlite::Connection;

    #[test]
    fn a_damaged_file_cannot_be_read_and_a_mended_one_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        Connection::open(&path)
            .and_then(|made| {
                made.execute_batch("CREATE TABLE note (id INTEGER PRIMARY KEY); INSERT INTO note VALUES (1)")
            })
            .unwrap();
        let count = || Connection::open(&path)?.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0));
        let whole = std::fs::read(&path).unwrap();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        damaged_while(&mut file, || assert!(count().unwrap_err().to_string().contains("malformed"))).unwrap();
        assert_eq!(count(), Ok(1));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn a_file_that_has_grown_meanwhile_is_mended_where_it_was_damaged() {
        let mut file = tempfile::tempfile().unwrap();
        let mut pages = [b"SQLite format 3\0".as_slice(), &512_u16.to_be_bytes()].concat();
        pages.resize(1024, 7);
        file.write_all(&pages).unwrap();
        let mut same = file.try_clone().unwrap();
        pages.resize(1536, 8);
        damaged_while(&mut file, || same.seek(SeekFrom::End(0)).and_then(|_| same.write_all(&[8; 512])))
            .unwrap()
            .unwrap();
        let mut mended = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut mended)).unwrap();
        assert!(mended == pages);
    }

    #[test]
    fn what_is_no_database_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a letter to a friend, which is long enough").unwrap();
        assert!(run(file.path()).unwrap_err().to_string().contains("not a SQLite database"));
        assert!(std::fs::read_to_string(file.path()).unwrap().starts_with("a letter"));
    }
}
