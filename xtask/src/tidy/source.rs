/// A source file, taken apart into what the compiler reads and what people read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path, relative to the root, with `/` between the parts.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// The code; comments and literals are blanks, so that lines and columns stay where they are.
    pub(crate) code: String,
    /// The comments; everything else is blanks.
    pub(crate) comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

impl Source {
    /// Takes `text` apart. It need not compile: what is not closed reaches to the end.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let characters: Vec<char> = text.chars().collect();
        let parts = parts(&characters);
        let only = |wanted: Part| -> String {
            let kept = characters.iter().zip(&parts);
            kept.map(|(&c, &part)| if c == '\n' || part == wanted { c } else { ' ' }).collect()
        };
        Self { path: path.into(), code: only(Part::Code), comments: only(Part::Comment), text }
    }

    /// The words of the code, each with its offset in bytes.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        words(&self.code)
    }

    /// The line of an offset into the code, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        line(&self.code, offset)
    }
}

/// The line of an offset in bytes, from 1.
pub(crate) fn line(text: &str, offset: usize) -> usize {
    text[..offset].bytes().filter(|&byte| byte == b'\n').count() + 1
}

/// The words of a text, each with its offset in bytes. A word is what can be an identifier.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(in_word)?;
        let end = text[start..].find(|c| !in_word(c)).map_or(text.len(), |length| start + length);
        rest = end;
        Some((start, &text[start..end]))
    })
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn parts(text: &[char]) -> Vec<Part> {
    let mut parts = vec![Part::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let (part, end) = match text[at..] {
            ['/', '/', ..] => (Part::Comment, find(text, at, |rest| rest[0] == '\n')),
            ['/', '*', ..] => (Part::Comment, block_comment(text, at)),
            ['"', ..] => (Part::Literal, quoted(text, at + 1, '"')),
            ['\'', '\\', ..] => (Part::Literal, quoted(text, at + 1, '\'')),
            ['\'', _, '\'', ..] => (Part::Literal, at + 3),
            _ => match raw_string(text, at) {
                Some(end) => (Part::Literal, end),
                None => (Part::Code, at + 1),
            },
        };
        parts[at..end].fill(part);
        at = end;
    }
    parts
}

fn find(text: &[char], from: usize, is: impl Fn(&[char]) -> bool) -> usize {
    (from..text.len()).find(|&at| is(&text[at..])).unwrap_or(text.len())
}

fn block_comment(text: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted(text: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The end of the raw string that starts here, if one does: `r"`, `br#"`, `cr##"`.
fn raw_string(text: &[char], from: usize) -> Option<usize> {
    if from > 0 && in_word(text[from - 1]) {
        return None;
    }
    let prefix = match text[from..] {
        ['r', ..] => 1,
        ['b' | 'c', 'r', ..] => 2,
        _ => return None,
    };
    let hashes = text[from + prefix..].iter().take_while(|&&c| c == '#').count();
    let start = from + prefix + hashes;
    if text.get(start) != Some(&'"') {
        return None;
    }
    let closes = |rest: &[char]| rest[0] == '"' && rest.iter().skip(1).take_while(|&&c| c == '#').count() >= hashes;
    Some((find(text, start + 1, closes) + 1 + hashes).min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let source = Source::new("a.rs", text);
        assert_eq!(source.code.chars().count(), text.chars().count());
        assert_eq!(source.comments.chars().count(), text.chars().count());
        words(&source.code).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_stands_in_comments_and_literals_is_not_code() {
        assert_eq!(code("a // unsafe\nb"), "a b");
        assert_eq!(code("a /* unsafe /* nested */ unsafe */ b"), "a b");
        assert_eq!(code(r#"a("unsafe \" unsafe", b"unsafe") c"#), "a b c");
        assert_eq!(code("a(r#\"unsafe \" unsafe\"#) b"), "a b");
        assert_eq!(code("a(br##\"unsafe \"# unsafe\"##, cr\"unsafe\") b"), "a b");
    }

    #[test]
    fn quotes_in_literals_and_lifetimes_do_not_open_strings() {
        assert_eq!(code(r"a('\'', '\\', '\u{1F600}') b"), "a b");
        assert_eq!(code(r#"a('"', "//") b"#), "a b");
        assert_eq!(code("fn f<'a>(x: &'a str) -> &'static str"), "fn f a x a str static str");
        assert_eq!(code("r#type = \"x\""), "r type");
        assert_eq!(code("attr\"x\" b"), "attr b");
    }

    #[test]
    fn what_is_not_closed_reaches_to_the_end() {
        for text in ["a \"unsafe", "a /* unsafe", "a r#\"unsafe\"", "a '\\", "a \"\\"] {
            assert_eq!(code(text), "a", "{text}");
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = Source::new("a.rs", "/* ü\n */ x\n\"\n\" y // z\n");
        let lines: Vec<_> = source.words().map(|(offset, word)| (source.line(offset), word)).collect();
        assert_eq!(lines, [(2, "x"), (4, "y")]);
        assert_eq!(source.comments.lines().nth(3).unwrap().trim(), "// z");
    }
}
