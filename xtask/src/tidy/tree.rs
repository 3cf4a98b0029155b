use super::source::Source;
use crate::{
    error::{Error, Result},
    metadata::relative,
};
use std::{fs, path::Path};

/// The files of a checkout that the rules look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Every `.rs` file, by path.
    pub(crate) sources: Vec<Source>,
    /// Every `.md` and `.toml` file: (path, text).
    pub(crate) texts: Vec<(String, String)>,
}

impl Tree {
    /// Reads the files below `root`, except in hidden folders and where cargo builds.
    ///
    /// # Errors
    /// [`Error::Read`] if a folder or file cannot be read, or is not UTF-8.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(root, root)?;
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        tree.texts.sort();
        Ok(tree)
    }

    fn add(&mut self, folder: &Path, root: &Path) -> Result<()> {
        let failed = |source| Error::Read { path: folder.into(), source };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().map_err(failed)?.is_dir() {
                let hidden = name.to_string_lossy().starts_with('.');
                // Cargo marks the folders it builds in, whatever they are called.
                let built = name == "target" || path.join("CACHEDIR.TAG").exists();
                if !hidden && !built {
                    self.add(&path, root)?;
                }
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str());
            if let Some(kind @ ("rs" | "md" | "toml")) = extension {
                let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
                let place = relative(&path, root);
                if kind == "rs" {
                    self.sources.push(Source::new(place, text));
                } else {
                    self.texts.push((place, text));
                }
            }
        }
        Ok(())
    }

    /// A tree of these source files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { sources: files.iter().map(|(path, text)| Source::new(*path, *text)).collect(), texts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_is_hidden_or_built() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a/src/x.rs", "README.md", ".git/x.md", "target/x.rs", "out/CACHEDIR.TAG", "out/x.rs", "data.bin"];
        for path in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        let tree = Tree::read(folder.path()).unwrap();
        assert_eq!(tree.sources.iter().map(|source| source.path.as_str()).collect::<Vec<_>>(), ["a/src/x.rs"]);
        assert_eq!(tree.texts, [("README.md".into(), "text".into())]);
    }

    #[test]
    fn a_file_that_is_not_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bad.rs"), [0xff]).unwrap();
        let error = Tree::read(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Read { path, .. } if path.ends_with("bad.rs")));
    }
}
