use super::{
    expression::{Expression, ExpressionError},
    splitter::{Piece, PieceKind, Token, TokenKind, pieces},
};
use crate::problem::Problem;
use std::fmt::Write;

/// What one client runs over and over: a pass through these steps is what is counted.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// Where it comes from: a file, or what it was derived from.
    pub(super) name: String,
    steps: Vec<Step>,
    variables: Vec<String>,
}

#[derive(Clone, Debug)]
enum Step {
    Set {
        variable: usize,
        expression: Expression,
        line: usize,
    },
    /// By its place among the statements.
    Statement(Statement),
}

/// A statement with the variables that it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// As it is run: with `?1` for the first variable, and so on.
    pub(super) sql: String,
    /// As it was written.
    pub(super) text: String,
    /// The line on which it begins, counted from 1.
    pub(super) line: usize,
    parameters: Vec<usize>,
}

/// The pseudo-random numbers of a client, and the variables of the pass that it is in.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    random: fastrand::Rng,
    variables: Vec<i64>,
    parameters: Vec<i64>,
}

impl Scope {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), variables: Vec::new(), parameters: Vec::new() }
    }

    /// One of so many, each as likely.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        self.random.usize(..count)
    }
}

impl Script {
    /// Reads a script.
    ///
    /// Every expression is computed once, so that one that cannot have a value is refused before
    /// anything runs.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        let mut script = Self { name: name.to_owned(), steps: Vec::new(), variables: Vec::new() };
        for piece in pieces(text) {
            let step = match piece.kind {
                PieceKind::Command => script.command(&piece),
                PieceKind::Statement => script.statement(&piece),
                PieceKind::Blank => Ok(None),
            };
            let at = |message| Problem::input(format_args!("{name}:{}: {message}", piece.line));
            script.steps.extend(step.map_err(at)?);
        }
        if script.statements().next().is_none() {
            return Err(Problem::input(format_args!(
                "{name}: the script has no statement: expected SQL, ended by `;`"
            )));
        }
        let mut scope = Scope::new(0);
        let computed =
            script.pass(&mut scope, |_, _, _| Ok::<_, (usize, ExpressionError)>(()), |line, error| (line, error));
        computed.map_err(|(line, error)| Problem::input(format_args!("{name}:{line}: {error}")))?;
        Ok(script)
    }

    fn command(&mut self, piece: &Piece<'_>) -> Result<Option<Step>, String> {
        let text = piece.text();
        let mut words = text.trim_start_matches('\\').trim_end().splitn(2, char::is_whitespace);
        let command = words.next().unwrap_or_default();
        if command != "set" {
            return Err(format!("unknown command \\{command}: only `\\set name expression` is known"));
        }
        let rest = words.next().unwrap_or_default().trim();
        let (name, expression) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let is_name = |name: &str| {
            let is_first = |first: char| first.is_alphabetic() || first == '_';
            name.starts_with(is_first) && name.chars().all(|character| character.is_alphanumeric() || character == '_')
        };
        if !is_name(name) {
            return Err(format!(
                "{name:?} is no name for a variable: expected `\\set name expression`, the name a word"
            ));
        }
        let expression = Expression::parse(expression, &self.variables).map_err(|error| error.to_string())?;
        let known = self.variables.iter().position(|known| known == name);
        let variable = known.unwrap_or_else(|| {
            self.variables.push(name.to_owned());
            self.variables.len() - 1
        });
        Ok(Some(Step::Set { variable, expression, line: piece.line }))
    }

    fn statement(&self, piece: &Piece<'_>) -> Result<Option<Step>, String> {
        let mut statement =
            Statement { sql: String::new(), text: piece.text(), line: piece.line, parameters: Vec::new() };
        let content = piece.content();
        if let Some(refusal) = content.first().and_then(refusal) {
            return Err(refusal);
        }
        for token in content {
            match token.kind {
                TokenKind::Variable => {
                    let name = &token.text[1..];
                    let Some(variable) = self.variables.iter().position(|known| known == name) else {
                        let known = self.variables.clone();
                        return Err(ExpressionError::UnknownVariable { name: name.into(), known }.to_string());
                    };
                    let known = statement.parameters.iter().position(|known| *known == variable);
                    let place = known.unwrap_or_else(|| {
                        statement.parameters.push(variable);
                        statement.parameters.len() - 1
                    });
                    write!(statement.sql, "?{}", place + 1).expect("a String takes everything");
                }
                TokenKind::Positional => {
                    return Err(format!(
                        "the parameter {} has no value: expected :name, with `\\set name` before it",
                        token.text
                    ));
                }
                TokenKind::Command => {
                    return Err(format!(
                        "{:?} stands inside a statement: end the statement before it with `;`",
                        token.text
                    ));
                }
                _ => statement.sql.push_str(token.text),
            }
        }
        Ok((!content.is_empty()).then_some(Step::Statement(statement)))
    }

    /// Its statements, in order.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Statement> {
        self.steps.iter().filter_map(|step| match step {
            Step::Statement(statement) => Some(statement),
            Step::Set { .. } => None,
        })
    }

    /// Goes through it once: `run` is given each statement, counted from 0, with its parameters. The
    /// first error ends the pass; `wrong` makes one of an expression that has no value.
    pub(super) fn pass<E>(
        &self,
        scope: &mut Scope,
        mut run: impl FnMut(usize, &Statement, &[i64]) -> Result<(), E>,
        wrong: impl FnOnce(usize, ExpressionError) -> E,
    ) -> Result<(), E> {
        let Scope { random, variables, parameters } = scope;
        variables.clear();
        variables.resize(self.variables.len(), 0);
        let mut number = 0;
        for step in &self.steps {
            match step {
                Step::Set { variable, expression, line } => match expression.value(variables, random) {
                    Ok(value) => variables[*variable] = value,
                    Err(error) => return Err(wrong(*line, error)),
                },
                Step::Statement(statement) => {
                    parameters.clear();
                    parameters.extend(statement.parameters.iter().map(|variable| variables[*variable]));
                    run(number, statement, parameters)?;
                    number += 1;
                }
            }
        }
        Ok(())
    }
}

/// Why a statement that begins like this cannot be a call.
fn refusal(first: &Token<'_>) -> Option<String> {
    const TRANSACTIONS: [&str; 6] = ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"];
    const CONNECTIONS: [&str; 2] = ["ATTACH", "DETACH"];
    let word = first.text.to_ascii_uppercase();
    if TRANSACTIONS.contains(&&*word) {
        return Some(format!("{word} is refused: each statement is a call of its own, and commits by itself"));
    }
    if CONNECTIONS.contains(&&*word) {
        return Some(format!(
            "{word} is refused: it would hold for one connection only; expected statements on one file"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "-- look up\n\\set id random(1, 10)\n\\set next :id + 1\nSELECT ':id', :next, :id, @next FROM t; -- :other\nSELECT 2;\n";

    fn run(script: &Script, seed: u64) -> Vec<(usize, String, Vec<i64>)> {
        let mut ran = Vec::new();
        let note = |number, statement: &Statement, values: &[i64]| {
            ran.push((number, statement.sql.clone(), values.to_vec()));
            Ok::<_, ExpressionError>(())
        };
        script.pass(&mut Scope::new(seed), note, |_, error| error).unwrap();
        ran
    }

    #[test]
    fn variables_become_positional_parameters_and_texts_stay() {
        let script = Script::parse("s.sql", SCRIPT).unwrap();
        let ran = run(&script, 7);
        assert_eq!((ran[0].0, &*ran[0].1), (0, "SELECT ':id', ?1, ?2, ?1 FROM t"));
        assert_eq!(ran[0].2[0], ran[0].2[1] + 1);
        assert_eq!(ran[1], (1, "SELECT 2".into(), vec![]));
        assert_eq!(script.statements().map(|statement| statement.line).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(run(&script, 7), ran, "the same seed gives the same numbers");
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        for (script, expected) in [
            ("", "s.sql: the script has no statement"),
            ("-- nothing\n;;\n\\set a 1\n", "s.sql: the script has no statement"),
            ("SELECT 1;\n\\sleep 1\n", "s.sql:2: unknown command \\sleep"),
            ("\\\n", "s.sql:1: unknown command \\: only"),
            ("\\set\nSELECT 1;", "s.sql:1: \"\" is no name"),
            ("\\set 1a 2\nSELECT 1;", "s.sql:1: \"1a\" is no name"),
            ("\\set a\nSELECT 1;", "s.sql:1: the expression ends too early"),
            ("\n\\set a random(1,\nSELECT 1;", "s.sql:2: the expression ends too early"),
            ("\\set a gauss(1)\nSELECT 1;", "s.sql:1: unknown function \"gauss\""),
            ("\\set a random(9, 1)\nSELECT 1;", "s.sql:1: random(9, 1) is empty"),
            ("\\set a 1\n\\set b 1 / (:a - 1)\nSELECT 1;", "s.sql:2: division by zero"),
            ("\\set a :b\n\\set b 1\nSELECT 1;", "s.sql:1: unknown variable :b: no variable"),
            ("\\set a 1\nSELECT\n :x;", "s.sql:2: unknown variable :x: set before this line are :a"),
            ("SELECT ?;", "s.sql:1: the parameter ? has no value"),
            ("SELECT ?2;", "s.sql:1: the parameter ?2 has no value"),
            ("SELECT 1\n\\set a 1\n;", "stands inside a statement"),
            ("SELECT 1;\nbegin immediate;", "s.sql:2: BEGIN is refused"),
            ("ATTACH 'x.db' AS x;", "s.sql:1: ATTACH is refused"),
        ] {
            let message = Script::parse("s.sql", script).unwrap_err().to_string();
            assert!(message.contains(expected), "{script:?}: {message:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn a_variable_may_be_set_again() {
        let script = Script::parse("s.sql", "\\set a 1\nSELECT :a;\n\\set a :a + 1\nSELECT :a").unwrap();
        let values: Vec<_> = run(&script, 1).into_iter().flat_map(|(_, _, values)| values).collect();
        assert_eq!(values, [1, 2]);
    }

    #[test]
    fn an_expression_that_fails_only_for_some_numbers_ends_only_its_pass() {
        let script = Script::parse("s.sql", "\\set a random(0, 9)\n\\set b 1 / :a\nSELECT :b;").unwrap();
        let mut scope = Scope::new(1);
        let (mut ran, mut ended) = (0, Vec::new());
        for _ in 0..100 {
            let note = |_, _: &Statement, _: &[i64]| {
                ran += 1;
                Ok(())
            };
            ended.extend(script.pass(&mut scope, note, |line, error| (line, error)).err());
        }
        assert_eq!(ran + ended.len(), 100);
        assert!(
            !ended.is_empty() && ended.iter().all(|error| *error == (2, ExpressionError::DivisionByZero)),
            "{ended:?}"
        );
    }
}
