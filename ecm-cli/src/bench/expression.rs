use super::splitter::{Token, TokenKind, tokens};
use std::{error::Error, fmt};

const DEEPEST: usize = 64;

/// A whole number that a `\set` line computes: constants, variables, `random(a, b)`, `+ - * / %`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Constant(i64),
    /// By its place among the variables of the script.
    Variable(usize),
    Negative(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    /// A number from the lower to the upper bound, both included, each as likely.
    Random(Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Why an expression is wrong, or has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExpressionError {
    Ends,
    Unexpected(String),
    UnknownFunction(String),
    UnknownVariable { name: String, known: Vec<String> },
    TooLarge(String),
    TooDeep,
    DivisionByZero,
    Overflow,
    EmptyRange(i64, i64),
}

impl Expression {
    /// Reads an expression; `variables` are the names that it may refer to.
    pub(super) fn parse(text: &str, variables: &[String]) -> Result<Self, ExpressionError> {
        let is_filler = |token: &Token<'_>| matches!(token.kind, TokenKind::Space | TokenKind::Comment);
        let tokens: Vec<_> =
            tokens(text).into_iter().filter(|token| !is_filler(token)).map(|token| token.text).collect();
        let mut parser = Parser { tokens: &tokens, variables, depth: 0 };
        let expression = parser.sum()?;
        match parser.tokens.first() {
            Some(left) => Err(ExpressionError::Unexpected((*left).into())),
            None => Ok(expression),
        }
    }

    /// Its value, with these values of the variables.
    pub(super) fn value(&self, variables: &[i64], random: &mut fastrand::Rng) -> Result<i64, ExpressionError> {
        Ok(match self {
            Self::Constant(number) => *number,
            Self::Variable(place) => variables[*place],
            Self::Negative(inner) => inner.value(variables, random)?.checked_neg().ok_or(ExpressionError::Overflow)?,
            Self::Binary(operator, left, right) => {
                let (left, right) = (left.value(variables, random)?, right.value(variables, random)?);
                if right == 0 && matches!(operator, Operator::Divide | Operator::Remainder) {
                    return Err(ExpressionError::DivisionByZero);
                }
                let value = match operator {
                    Operator::Add => left.checked_add(right),
                    Operator::Subtract => left.checked_sub(right),
                    Operator::Multiply => left.checked_mul(right),
                    Operator::Divide => left.checked_div(right),
                    Operator::Remainder => left.checked_rem(right),
                };
                value.ok_or(ExpressionError::Overflow)?
            }
            Self::Random(low, high) => {
                let (low, high) = (low.value(variables, random)?, high.value(variables, random)?);
                if low > high {
                    return Err(ExpressionError::EmptyRange(low, high));
                }
                random.i64(low..=high)
            }
        })
    }
}

struct Parser<'a, 'v> {
    tokens: &'a [&'a str],
    variables: &'v [String],
    depth: usize,
}

impl<'a> Parser<'a, '_> {
    fn next(&mut self) -> Result<&'a str, ExpressionError> {
        let (first, rest) = self.tokens.split_first().ok_or(ExpressionError::Ends)?;
        self.tokens = rest;
        Ok(first)
    }

    fn expect(&mut self, expected: &str) -> Result<(), ExpressionError> {
        let found = self.next()?;
        if found == expected { Ok(()) } else { Err(ExpressionError::Unexpected(found.into())) }
    }

    fn chain(
        &mut self,
        operator: fn(&str) -> Option<Operator>,
        operand: fn(&mut Self) -> Result<Expression, ExpressionError>,
    ) -> Result<Expression, ExpressionError> {
        let mut left = operand(self)?;
        let mut links = 0;
        while let Some(operator) = self.tokens.first().copied().and_then(operator) {
            self.next()?;
            links += 1;
            if self.depth + links > DEEPEST {
                return Err(ExpressionError::TooDeep);
            }
            left = Expression::Binary(operator, Box::new(left), Box::new(operand(self)?));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expression, ExpressionError> {
        let operator = |token: &str| match token {
            "+" => Some(Operator::Add),
            "-" => Some(Operator::Subtract),
            _ => None,
        };
        self.chain(operator, Self::product)
    }

    fn product(&mut self) -> Result<Expression, ExpressionError> {
        let operator = |token: &str| match token {
            "*" => Some(Operator::Multiply),
            "/" => Some(Operator::Divide),
            "%" => Some(Operator::Remainder),
            _ => None,
        };
        self.chain(operator, Self::operand)
    }

    fn operand(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ExpressionError::TooDeep);
        }
        let operand = self.bare_operand();
        self.depth -= 1;
        operand
    }

    fn bare_operand(&mut self) -> Result<Expression, ExpressionError> {
        let token = self.next()?;
        let first = token.chars().next().unwrap_or_default();
        match token {
            "(" => {
                let inner = self.sum()?;
                self.expect(")")?;
                Ok(inner)
            }
            "-" => {
                // The lowest number has no positive counterpart that could be negated.
                let digits =
                    self.tokens.first().filter(|token| token.starts_with(|first: char| first.is_ascii_digit()));
                if let Some(digits) = digits {
                    self.next()?;
                    return constant(&format!("-{digits}"));
                }
                Ok(Expression::Negative(Box::new(self.operand()?)))
            }
            "+" => self.operand(),
            _ if first.is_ascii_digit() => constant(token),
            _ if matches!(first, ':' | '@' | '$') && token.len() > 1 => self.variable(&token[1..]),
            _ if self.tokens.first() == Some(&"(") => self.function(token),
            _ => Err(ExpressionError::Unexpected(token.into())),
        }
    }

    fn variable(&self, name: &str) -> Result<Expression, ExpressionError> {
        let unknown = || ExpressionError::UnknownVariable { name: name.into(), known: self.variables.to_vec() };
        self.variables.iter().position(|known| known == name).map(Expression::Variable).ok_or_else(unknown)
    }

    fn function(&mut self, name: &str) -> Result<Expression, ExpressionError> {
        if !name.eq_ignore_ascii_case("random") {
            return Err(ExpressionError::UnknownFunction(name.into()));
        }
        self.expect("(")?;
        let low = self.sum()?;
        self.expect(",")?;
        let high = self.sum()?;
        self.expect(")")?;
        Ok(Expression::Random(Box::new(low), Box::new(high)))
    }
}

fn constant(digits: &str) -> Result<Expression, ExpressionError> {
    let wrong = || {
        let is_number = digits.trim_start_matches('-').chars().all(|character| character.is_ascii_digit());
        let error = if is_number { ExpressionError::TooLarge } else { ExpressionError::Unexpected };
        error(digits.into())
    };
    digits.parse().map(Expression::Constant).map_err(|_| wrong())
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ACCEPTED: &str = "expected whole numbers, :variables, + - * / %, parentheses and random(lowest, highest)";
        match self {
            Self::Ends => write!(f, "the expression ends too early: {ACCEPTED}"),
            Self::Unexpected(token) => write!(f, "unexpected {token:?}: {ACCEPTED}"),
            Self::UnknownFunction(name) => {
                write!(f, "unknown function {name:?}: only random(lowest, highest) is known")
            }
            Self::UnknownVariable { name, known } if known.is_empty() => {
                write!(f, "unknown variable :{name}: no variable is set before this line, by \\set {name} ...")
            }
            Self::UnknownVariable { name, known } => {
                write!(f, "unknown variable :{name}: set before this line are :{}", known.join(", :"))
            }
            Self::TooLarge(digits) => write!(f, "{digits} is too large: a whole number of 64 bits is expected"),
            Self::TooDeep => write!(f, "the expression is too long: at most {DEEPEST} operations deep"),
            Self::DivisionByZero => f.write_str("division by zero"),
            Self::Overflow => f.write_str("the value does not fit in a whole number of 64 bits"),
            Self::EmptyRange(low, high) => write!(f, "random({low}, {high}) is empty: the lowest number comes first"),
        }
    }
}

impl Error for ExpressionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Result<i64, ExpressionError> {
        let variables = ["id".to_owned(), "page".to_owned()];
        Expression::parse(text, &variables)?.value(&[7, 3], &mut fastrand::Rng::with_seed(1))
    }

    #[test]
    fn computes_as_pgbench_does() {
        for (text, expected) in [
            ("42", 42),
            (" 1 + 2 * 3 ", 7),
            ("(1 + 2) * 3", 9),
            ("10 - 4 - 3", 3),
            ("7 / 2", 3),
            ("-7 / 2", -3),
            ("-7 % 4", -3),
            (":id * 100 + @page - $id", 696),
            ("- -3", 3),
            ("-(1 + 1)", -2),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("RANDOM(5, 2 + 3)", 5),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "ends too early"),
            ("1 +", "ends too early"),
            ("(1", "ends too early"),
            ("1 2", "unexpected \"2\""),
            ("1)", "unexpected \")\""),
            ("abc", "unexpected \"abc\""),
            ("12abc", "unexpected \"12abc\""),
            ("1.5", "unexpected \".\""),
            ("gauss(1, 2)", "unknown function \"gauss\""),
            ("random(1)", "unexpected \")\""),
            ("random(1, 2, 3)", "unexpected \",\""),
            ("random(2, 1)", "random(2, 1) is empty"),
            (":no", "unknown variable :no: set before this line are :id, :page"),
            ("9223372036854775808", "too large"),
            ("1 / (2 - 2)", "division by zero"),
            ("1 % 0", "division by zero"),
            ("9223372036854775807 + 1", "does not fit"),
            ("-9223372036854775808 / -1", "does not fit"),
            ("-(-9223372036854775808)", "does not fit"),
        ] {
            let error = value(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn nesting_that_would_exhaust_the_stack_is_refused() {
        for text in ["(".repeat(100_000), "-".repeat(100_000), " - ".repeat(100_000), "1+".repeat(100_000) + "1"] {
            assert!(value(&text).is_err());
        }
        assert_eq!(value(&format!("{}1{}", "(".repeat(DEEPEST - 1), ")".repeat(DEEPEST - 1))), Ok(1));
    }

    proptest! {
        #[test]
        fn random_stays_within_its_bounds(a in any::<i64>(), b in any::<i64>(), seed in any::<u64>()) {
            let (low, high) = (a.min(b), a.max(b));
            let expression = Expression::parse(&format!("random({low}, {high})"), &[]).unwrap();
            let value = expression.value(&[], &mut fastrand::Rng::with_seed(seed)).unwrap();
            prop_assert!((low..=high).contains(&value));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+*/%() :a-z0-9,]{0,60}") {
            let mut random = fastrand::Rng::with_seed(1);
            if let Ok(expression) = Expression::parse(&text, &["a".to_owned()]) {
                let _value_or_error = expression.value(&[i64::MIN], &mut random);
            }
        }

        #[test]
        fn numbers_mean_themselves(number in any::<i64>()) {
            prop_assert_eq!(value(&number.to_string()), Ok(number));
        }
    }
}
