use std::path::{self, Path, PathBuf};

/// Where a database is: absolute, because connections are opened again and again, and a program that
/// changes its working directory in between would meet, or make, another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In memory, under a name of SQLite's `memdb`.
    Memory(String),
    /// In a file.
    File {
        /// What SQLite is given to open: a path or a URI.
        name: PathBuf,
        /// The file itself, for looking at it with `stat`.
        file: PathBuf,
        /// Whether `name` is a URI.
        uri: bool,
    },
    /// Nowhere: opening fails with this sentence.
    Nowhere(String),
}

impl Location {
    pub(crate) fn of(path: &Path) -> Self {
        let Some(text) = path.to_str() else {
            return Self::Nowhere(format!("the path {path:?} is not UTF-8: give a path of Unicode characters"));
        };
        if text.is_empty() {
            return Self::Nowhere(
                "the path is empty: give the path of a file, or use Sqlite::memory() for a database in memory".into(),
            );
        }
        if text.contains('\0') {
            return Self::Nowhere(format!("the path {path:?} contains a NUL character: give a path without one"));
        }
        match text.strip_prefix("file:") {
            Some(rest) => Self::of_uri(path, rest).unwrap_or_else(Self::Nowhere),
            None => match absolute(path) {
                Ok(file) => Self::File { name: file.clone(), file, uri: false },
                Err(why) => Self::Nowhere(why),
            },
        }
    }

    /// Reads what follows `file:` as SQLite does, and refuses what would not be a database of its own.
    fn of_uri(path: &Path, rest: &str) -> Result<Self, String> {
        let rest = rest.split('#').next().unwrap_or_default();
        let (file, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let file = match file.strip_prefix("//") {
            Some(with_authority) => match with_authority.find('/') {
                Some(slash) if matches!(&with_authority[..slash], "" | "localhost") => &with_authority[slash..],
                _ => return Err(format!("the URI {path:?} names a host: only none, or localhost, can be opened")),
            },
            None => file,
        };
        let decode = |part: &str| decode(part).map_err(|why| format!("the URI {path:?} cannot be read: {why}"));
        let file = decode(file)?;
        if file.is_empty() || file == ":memory:" {
            return Err(format!("the URI {path:?} names no file: use Sqlite::memory() for a database in memory"));
        }
        for parameter in parameters.split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match (decode(key)?.to_ascii_lowercase().as_str(), decode(value)?.to_ascii_lowercase().as_str()) {
                ("cache", "shared") => {
                    return Err(format!(
                        "the URI {path:?} asks for a shared cache, in which a commit of one connection does not end \
                         the snapshot of another: leave cache=shared away, and use Sqlite::memory() for a database in \
                         memory that connections share"
                    ));
                }
                ("mode", "memory") | ("vfs", "memdb") => {
                    return Err(format!("the URI {path:?} asks for a database in memory: use Sqlite::memory()"));
                }
                _ => {}
            }
        }
        let file = PathBuf::from(file);
        if file.is_absolute() {
            return Ok(Self::File { name: path.to_owned(), file, uri: true });
        }
        let file = absolute(&file)?;
        let encoded = file.to_str().map(encode);
        let encoded = encoded.ok_or_else(|| format!("the working directory of {file:?} is not UTF-8: give a path"))?;
        Ok(Self::File { name: format!("file:{encoded}?{parameters}").into(), file, uri: true })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    path::absolute(path)
        .map_err(|error| format!("there is no working directory ({error}): give {path:?} from the root"))
}

/// The text with each byte that could mean something in a URI as `%HH`.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }).collect()
}

/// The text with each `%HH` replaced by its byte.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match *after {
            [high, low, ..] if first == b'%' => {
                let (Some(high), Some(low)) = (hex(high), hex(low)) else {
                    return Err("a % must be followed by two hexadecimal digits (%25 is the % itself)");
                };
                match u8::try_from(high * 16 + low) {
                    Ok(0) | Err(_) => return Err("%00 ends a name for SQLite; leave it away"),
                    Ok(byte) => bytes.push(byte),
                }
                rest = &after[2..];
            }
            _ if first == b'%' => return Err("a % must be followed by two hexadecimal digits (%25 is the % itself)"),
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "its percent-encoded bytes are not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(path: &str) -> String {
        match Location::of(Path::new(path)) {
            Location::Nowhere(why) => why,
            other => panic!("{path} was accepted as {other:?}"),
        }
    }

    #[test]
    fn a_shared_cache_is_refused_however_it_is_spelt() {
        for uri in [
            "file:a.db?cache=shared",
            "file:a.db?CACHE=Shared",
            "file:a.db?x=1&c%61che=sh%61red",
            "file:///a.db?cache=%73%68%61%72%65%64#x",
        ] {
            assert!(refused(uri).contains("Sqlite::memory()"), "{uri}");
        }
    }

    #[test]
    fn a_database_in_memory_is_refused_as_a_uri() {
        for uri in
            ["file::memory:", "file:a?mode=memory", "file:/a?vfs=memdb", "file:", "file:?x", "file:a?mod%65=MEMORY"]
        {
            assert!(refused(uri).contains("Sqlite::memory()"), "{uri}");
        }
    }

    #[test]
    fn a_uri_that_sqlite_would_read_otherwise_is_refused() {
        assert!(refused("file:a%00b.db").contains("%00"));
        assert!(refused("file:a%zz.db").contains("hexadecimal"));
        assert!(refused("file:a%2").contains("hexadecimal"));
        assert!(refused("file://elsewhere/a.db").contains("host"));
        assert!(refused("file:%ff").contains("UTF-8"));
        assert!(refused("a\0b").contains("NUL"));
        assert!(refused("").contains("empty"));
    }

    #[test]
    fn the_file_of_a_uri_is_found() {
        let file = |uri: &str| match Location::of(Path::new(uri)) {
            Location::File { file, uri: true, .. } => file.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(file("file:/a%20b%23.db?mode=ro#part"), "/a b#.db");
        assert_eq!(file("file:///tmp/a.db"), "/tmp/a.db");
        assert_eq!(file("file://localhost/tmp/a.db"), "/tmp/a.db");
        assert_eq!(file("file:/tmp/a.db?cache=private"), "/tmp/a.db");
    }

    #[test]
    fn every_other_path_is_taken_literally_from_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        for name in ["file:a.db", "a?mode=memory", "a#b", "100%.db", "File:a.db", "a b.db", ":memory"] {
            let literal = Location::File { name: here.join(name), file: here.join(name), uri: false };
            assert_eq!(Location::of(&Path::new(".").join(name)), literal);
            assert_eq!(Location::of(&here.join(name)), literal);
        }
    }

    #[test]
    fn a_relative_uri_keeps_its_parameters_and_is_read_again_as_the_same_file() {
        let here = std::env::current_dir().unwrap();
        let Location::File { name, file, .. } = Location::of(Path::new("file:a%20b%3f.db?mode=ro&cache=private#x"))
        else {
            panic!("it was refused");
        };
        assert_eq!(file, here.join("a b?.db"));
        assert!(name.to_str().unwrap().ends_with("/a%20b%3F.db?mode=ro&cache=private"), "{name:?}");
        assert_eq!(Location::of(&name), Location::File { name: name.clone(), file, uri: true });
    }

    proptest! {
        #[test]
        fn no_path_makes_the_reader_of_uris_panic(path in "(file:)?(//)?[a-z%0-9/?#&=:é\0]{0,24}") {
            let _judged: Location = Location::of(Path::new(&path));
        }

        #[test]
        fn what_is_encoded_byte_by_byte_is_decoded_again(name in "[a-zA-Z?#%& =é/]{1,16}") {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&encoded), Ok(name.clone()));
            prop_assert_eq!(decode(&encode(&name)), Ok(name));
        }
    }
}
