//! Cuts the text of a script into statements and commands, as SQLite's own shell does: it knows
//! quotes, comments and the bodies of triggers, and nothing else of SQL.

/// What a token is, as far as cutting and replacing need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Space,
    Comment,
    /// A text, an identifier or a blob in quotes, also one that is never closed.
    Quoted,
    Word,
    /// `:name`, `@name`, `$name`.
    Variable,
    /// `?` or `?1`.
    Positional,
    Semicolon,
    /// A line that begins with a backslash.
    Command,
    Other,
}

/// A stretch of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
}

/// What a piece of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Space and comments only.
    Blank,
    Statement,
    /// A backslash and what follows it on its line.
    Command,
}

/// A stretch of a script that stands on its own. All pieces together are the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) kind: PieceKind,
    pub(super) tokens: Vec<Token<'a>>,
    /// The line on which its first word stands, counted from 1.
    pub(super) line: usize,
}

impl<'a> Piece<'a> {
    /// What matters of it: without what stands before its first word, and without the semicolon.
    pub(super) fn content(&self) -> &[Token<'a>] {
        let matters = |token: &Token<'_>| !matches!(token.kind, TokenKind::Space | TokenKind::Comment);
        let first = self.tokens.iter().position(matters).unwrap_or(self.tokens.len());
        let ends = |token: &Token<'_>| matters(token) && token.kind != TokenKind::Semicolon;
        let last = self.tokens.iter().rposition(ends).map_or(first, |last| last + 1);
        &self.tokens[first..last.max(first)]
    }

    /// [`content`](Self::content) as it was written.
    pub(super) fn text(&self) -> String {
        self.content().iter().map(|token| token.text).collect()
    }
}

/// The tokens of a text, all of it.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line_begins = true;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = token(rest, first, line_begins);
        let (text, after) = rest.split_at(length);
        line_begins = match kind {
            TokenKind::Space => text.contains('\n') || line_begins,
            TokenKind::Comment => text.ends_with('\n'),
            _ => false,
        };
        tokens.push(Token { kind, text });
        rest = after;
    }
    tokens
}

fn token(rest: &str, first: char, line_begins: bool) -> (TokenKind, usize) {
    let line_end = || rest.find('\n').unwrap_or(rest.len());
    let while_matches = |accepted: fn(char) -> bool, from: usize| {
        rest[from..].find(|character| !accepted(character)).map_or(rest.len(), |length| from + length)
    };
    let after = rest[first.len_utf8()..].chars().next();
    match first {
        '-' if after == Some('-') => (TokenKind::Comment, line_end()),
        '/' if after == Some('*') => (TokenKind::Comment, rest[2..].find("*/").map_or(rest.len(), |at| at + 4)),
        '\'' | '"' | '`' => (TokenKind::Quoted, rest[1..].find(first).map_or(rest.len(), |at| at + 2)),
        '[' => (TokenKind::Quoted, rest.find(']').map_or(rest.len(), |at| at + 1)),
        ';' => (TokenKind::Semicolon, 1),
        '\\' if line_begins => (TokenKind::Command, line_end()),
        ':' | '@' | '$' if after.is_some_and(is_word) => (TokenKind::Variable, while_matches(is_word, 1)),
        '?' => (TokenKind::Positional, while_matches(|character| character.is_ascii_digit(), 1)),
        _ if first.is_whitespace() => (TokenKind::Space, while_matches(char::is_whitespace, 0)),
        // A dollar inside a word belongs to it, as in SQLite.
        _ if is_word(first) => (TokenKind::Word, while_matches(|character| is_word(character) || character == '$', 0)),
        _ => (TokenKind::Other, first.len_utf8()),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || !character.is_ascii()
}

/// The pieces of a script, all of it.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut current: Vec<Token<'_>> = Vec::new();
    let mut state = State::Start;
    let mut line = 1;
    let mut begins = 1;
    let mut blank = true;
    for token in tokens(text) {
        let is_filler = matches!(token.kind, TokenKind::Space | TokenKind::Comment);
        if blank && !is_filler {
            (begins, blank) = (line, false);
        }
        line += token.text.matches('\n').count();
        // Inside a statement a backslash stays in it, and is refused by whoever reads the piece.
        let alone = token.kind == TokenKind::Command && state == State::Start;
        state = state.after(&token);
        current.push(token);
        if alone || (token.kind == TokenKind::Semicolon && state == State::Start) {
            let kind = if alone { PieceKind::Command } else { PieceKind::Statement };
            pieces.push(Piece { kind, tokens: std::mem::take(&mut current), line: begins });
            (state, blank) = (State::Start, true);
        }
    }
    if !current.is_empty() {
        let kind = if blank { PieceKind::Blank } else { PieceKind::Statement };
        pieces.push(Piece { kind, tokens: current, line: begins });
    }
    pieces
}

/// Where in a statement one is: the states of `sqlite3_complete()`, which knows that the semicolons
/// inside the body of a trigger end nothing, and that `; END ;` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Normal,
    Explain,
    Create,
    Trigger,
    TriggerSemicolon,
    TriggerEnd,
}

impl State {
    fn after(self, token: &Token<'_>) -> Self {
        let word = |expected: &str| token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(expected);
        match self {
            _ if matches!(token.kind, TokenKind::Space | TokenKind::Comment) => self,
            Self::Trigger | Self::TriggerSemicolon if token.kind == TokenKind::Semicolon => Self::TriggerSemicolon,
            Self::TriggerSemicolon if word("END") => Self::TriggerEnd,
            _ if token.kind == TokenKind::Semicolon => Self::Start,
            Self::Trigger | Self::TriggerSemicolon | Self::TriggerEnd => Self::Trigger,
            Self::Start if word("EXPLAIN") => Self::Explain,
            Self::Start | Self::Explain if word("CREATE") => Self::Create,
            Self::Explain if word("QUERY") || word("PLAN") => Self::Explain,
            Self::Create if word("TEMP") || word("TEMPORARY") => Self::Create,
            Self::Create if word("TRIGGER") => Self::Trigger,
            _ => Self::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statements(text: &str) -> Vec<String> {
        pieces(text).iter().filter(|piece| piece.kind == PieceKind::Statement).map(Piece::text).collect()
    }

    #[test]
    fn a_semicolon_inside_quotes_or_comments_ends_nothing() {
        for (text, expected) in [
            ("SELECT ';' ; SELECT 2", vec!["SELECT ';'", "SELECT 2"]),
            ("SELECT 'it''s;' ; SELECT 2;", vec!["SELECT 'it''s;'", "SELECT 2"]),
            ("SELECT \"a;b\", `c;d`, [e;f]; SELECT 2", vec!["SELECT \"a;b\", `c;d`, [e;f]", "SELECT 2"]),
            ("SELECT 1 -- ; no\n; SELECT 2", vec!["SELECT 1", "SELECT 2"]),
            ("/* ; */ SELECT 1 /* ; */ + 1;", vec!["SELECT 1 /* ; */ + 1"]),
            ("SELECT 'never closed; SELECT 2", vec!["SELECT 'never closed; SELECT 2"]),
            ("SELECT 1 /* never closed; SELECT 2", vec!["SELECT 1"]),
            ("SELECT x';' ;", vec!["SELECT x';'"]),
        ] {
            assert_eq!(statements(text), expected, "{text}");
        }
    }

    #[test]
    fn the_body_of_a_trigger_is_not_torn_apart() {
        let trigger =
            "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\n UPDATE a SET b = CASE WHEN 1 THEN 2 END;\n SELECT 1;\nEND";
        assert_eq!(statements(&format!("{trigger};\nSELECT 2;")), [trigger, "SELECT 2"]);
        let explained = format!("EXPLAIN QUERY PLAN {trigger}");
        assert_eq!(statements(&format!("{explained} ; SELECT 2")), [explained.as_str(), "SELECT 2"]);
        assert_eq!(
            statements("CREATE TABLE trigger (a); SELECT 1; END;"),
            ["CREATE TABLE trigger (a)", "SELECT 1", "END"]
        );
    }

    #[test]
    fn commands_stand_alone_and_lines_are_counted() {
        use PieceKind::{Blank, Command, Statement};
        let script = "-- first\n\\set id 1 ; 2\nSELECT 1,\n  2;\n\n  \\set b 2\nSELECT 3;\n-- last\n";
        let pieces = pieces(script);
        let shown: Vec<_> = pieces.iter().map(|piece| (piece.kind, piece.text())).collect();
        let expected = [
            (Command, "\\set id 1 ; 2"),
            (Statement, "SELECT 1,\n  2"),
            (Command, "\\set b 2"),
            (Statement, "SELECT 3"),
            (Blank, ""),
        ];
        assert_eq!(shown, expected.map(|(kind, text)| (kind, text.to_owned())));
        let lines: Vec<_> = pieces.iter().take(4).map(|piece| piece.line).collect();
        assert_eq!(lines, [2, 3, 6, 7]);
        assert_eq!(statements("SELECT 1\n\\set a 1\n;"), ["SELECT 1\n\\set a 1"], "not torn out of a statement");
        assert_eq!(statements("SELECT ' \n\\set a 1';"), ["SELECT ' \n\\set a 1'"]);
    }

    #[test]
    fn names_inside_quotes_are_no_variables() {
        let variables = |text| {
            let variables = tokens(text).into_iter().filter(|token| token.kind == TokenKind::Variable);
            variables.map(|token| token.text).collect::<Vec<_>>()
        };
        assert_eq!(variables("SELECT ':a', \":b\", [:c], `:d` -- :e\n /* :f */ , :g+@h-$i"), [":g", "@h", "$i"]);
        assert_eq!(variables("SELECT a$b, data->>'$.x' FROM t WHERE x=:id::text"), [":id", ":text"]);
    }

    proptest! {
        #[test]
        fn no_text_is_lost_whatever_it_is(text in any::<String>()) {
            let together: String = pieces(&text).iter().flat_map(|piece| &piece.tokens).map(|token| token.text).collect();
            prop_assert_eq!(together, text);
        }

        #[test]
        fn no_text_is_lost_of_what_looks_like_sql(parts in proptest::collection::vec(
            prop_oneof![
                Just("CREATE TRIGGER "), Just("BEGIN "), Just("END"), Just(";"), Just("'"), Just("\""), Just("["), Just("]"),
                Just("--"), Just("/*"), Just("*/"), Just("\n"), Just("\\set a 1"), Just(":a"), Just("?"), Just("é"), Just(" "),
            ], 0..40))
        {
            let text = parts.concat();
            let pieces = pieces(&text);
            let together: String = pieces.iter().flat_map(|piece| &piece.tokens).map(|token| token.text).collect();
            prop_assert_eq!(together, &*text);
            for piece in &pieces {
                prop_assert!(text.contains(&piece.text()));
                prop_assert!(piece.line <= text.lines().count().max(1));
            }
        }
    }
}
