use std::fmt;

/// One value of a row or a parameter, borrowed. The five storage classes of SQLite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// `NULL`.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit floating-point number.
    Real(f64),
    /// Text, in UTF-8.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// One value of a row or a parameter, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit floating-point number.
    Real(f64),
    /// Text, in UTF-8.
    Text(Box<str>),
    /// Bytes.
    Blob(Box<[u8]>),
}

impl ValueRef<'_> {
    /// A copy that owns its content.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(number),
            Self::Real(number) => Value::Real(number),
            Self::Text(text) => Value::Text(text.into()),
            Self::Blob(bytes) => Value::Blob(bytes.into()),
        }
    }

    /// The name of the type, as SQLite spells it.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "INTEGER",
            Self::Real(_) => "REAL",
            Self::Text(_) => "TEXT",
            Self::Blob(_) => "BLOB",
        }
    }

    /// Whether both are the same type with the same bits: `1` is not `1.0`, `0.0` is not `-0.0`,
    /// and a NaN is itself. What a cache key has to compare, where `==` compares numbers.
    #[must_use]
    #[inline]
    pub fn same(self, other: ValueRef<'_>) -> bool {
        match (self, other) {
            (Self::Null, ValueRef::Null) => true,
            (Self::Integer(a), ValueRef::Integer(b)) => a == b,
            (Self::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), ValueRef::Text(b)) => a == b,
            (Self::Blob(a), ValueRef::Blob(b)) => a == b,
            _ => false,
        }
    }
}

impl Value {
    /// This value, borrowed.
    #[must_use]
    #[inline]
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl fmt::Display for ValueRef<'_> {
    /// As a SQL literal, so that an error can be pasted into a shell. Long content is cut after 40
    /// characters or bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => {
                let cut: String = text.chars().take(SHOWN).collect();
                let more = if cut.len() < text.len() { ".." } else { "" };
                write!(f, "'{}'{more}", cut.replace('\'', "''"))
            }
            Self::Blob(bytes) => {
                f.write_str("x'")?;
                bytes.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(if bytes.len() > SHOWN { "'.." } else { "'" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            any::<f64>().prop_map(Value::Real),
            ".{0,60}".prop_map(|text| Value::Text(text.into())),
            proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| Value::Blob(bytes.into())),
        ]
    }

    proptest! {
        #[test]
        fn a_copy_is_the_same(value in value()) {
            let copy = value.borrow().to_value();
            prop_assert!(copy.borrow().same(value.borrow()));
        }
    }

    #[test]
    fn numbers_that_are_equal_are_not_the_same_key() {
        assert!(!ValueRef::Integer(1).same(ValueRef::Real(1.0)));
        assert!(!ValueRef::Real(0.0).same(ValueRef::Real(-0.0)));
        assert!(ValueRef::Real(f64::NAN).same(ValueRef::Real(f64::NAN)));
        assert!(!ValueRef::Text("1").same(ValueRef::Blob(b"1")));
    }

    #[test]
    fn prints_as_a_literal_that_is_cut() {
        assert_eq!(ValueRef::Text("it's").to_string(), "'it''s'");
        assert_eq!(ValueRef::Text(&"é".repeat(41)).to_string(), format!("'{}'..", "é".repeat(40)));
        assert_eq!(ValueRef::Blob(&[0, 255]).to_string(), "x'00ff'");
        assert_eq!(ValueRef::Real(1.0).to_string(), "1.0");
    }
}
