use crate::{problem::Problem, tidy::Companions};
use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const PRIMARY: &str = "ecm-demo-primary.db";
const REPLICA: &str = "ecm-demo-replica.db";

/// The folder with the two databases.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// Removes the folder when it is dropped; `None` for a folder that the user has named.
    temporary: Option<TempDir>,
}

impl Files {
    /// A folder in which neither database exists yet: the user's, made if need be, or a new one.
    pub(super) fn new(dir: Option<&Path>) -> Result<Self, Problem> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix("ecm-demo-").tempdir().map_err(|error| {
                let advice = "give a folder that may be written by --dir, or set TMPDIR";
                Problem::input(format_args!("no temporary folder can be made ({error}): {advice}"))
            })?;
            return Ok(Self { folder: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        let unusable = |error| {
            let shown = dir.display();
            Problem::input(format_args!(
                "--dir {shown}: cannot be used ({error}): expected a folder that may be made and written"
            ))
        };
        fs::create_dir_all(dir).map_err(unusable)?;
        // Absolute, so that no name is mistaken for a URI.
        let folder = fs::canonicalize(dir).map_err(unusable)?;
        let files = Self { folder, temporary: None };
        files.refuse_existing()?;
        // Asks the system itself whether a file can be made here, and takes the name at once.
        OpenOptions::new().write(true).create_new(true).open(files.primary()).map_err(unusable)?;
        Ok(files)
    }

    fn refuse_existing(&self) -> Result<(), Problem> {
        for name in [PRIMARY, REPLICA] {
            for ending in ["", "-wal", "-shm", "-journal"] {
                let path = self.folder.join(format!("{name}{ending}"));
                if path.symlink_metadata().is_ok() {
                    let advice = "a demo never overwrites: remove it, or name another folder";
                    return Err(Problem::input(format_args!("{} exists already: {advice}", path.display())));
                }
            }
        }
        Ok(())
    }

    pub(super) fn primary(&self) -> PathBuf {
        self.folder.join(PRIMARY)
    }

    pub(super) fn replica(&self) -> PathBuf {
        self.folder.join(REPLICA)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the files stay after the run.
    pub(super) fn are_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// The replica, as it is before anybody reads it.
    pub(super) fn replica_companions(&self) -> Companions {
        Companions::of(&self.replica())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_exist_are_refused_and_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for name in [PRIMARY, "ecm-demo-replica.db-wal"] {
            let path = folder.path().join(name);
            fs::write(&path, "precious").unwrap();
            let message = Files::new(Some(folder.path())).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("exists already"), "{message}");
            assert_eq!(fs::read(&path).unwrap(), b"precious");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_folder_below_a_file_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = Files::new(Some(&file.path().join("below"))).unwrap_err().to_string();
        assert!(message.contains("below: cannot be used"), "{message}");
    }

    #[test]
    fn a_temporary_folder_goes_and_a_named_one_stays() {
        let files = Files::new(None).unwrap();
        let folder = files.folder().to_owned();
        assert!(folder.is_dir() && !files.are_kept());
        drop(files);
        assert!(!folder.exists());
        let outer = tempfile::tempdir().unwrap();
        let files = Files::new(Some(&outer.path().join("a/b"))).unwrap();
        assert!(files.are_kept());
        drop(files);
        assert!(outer.path().join("a/b").is_dir());
    }
}
