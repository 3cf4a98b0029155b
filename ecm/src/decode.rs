//! Rows into tuples, structs and single values, by serde.

use ecm_core::{Error, Failure, Kind, Row, ValueRef};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{BytesDeserializer, SeqDeserializer},
};
use std::fmt;

/// Decodes one row: a struct by the names of its columns, a tuple by their order, anything else from
/// the only column.
///
/// # Errors
/// Names the column, what was found in it, and what was expected.
pub(crate) fn decode<T: DeserializeOwned>(row: &dyn Row) -> Result<T, Failure> {
    T::deserialize(RowDeserializer { row }).map_err(|wrong| {
        let columns = row.columns().join(", ");
        match wrong {
            Wrong::Unreadable(failure) => failure,
            Wrong::Shape(message) => {
                Error::new(Kind::Decode, format_args!("the row does not fit: {message}; its columns are {columns}"))
                    .into()
            }
        }
    })
}

#[derive(Debug)]
enum Wrong {
    Unreadable(Failure),
    Shape(String),
}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(failure) => failure.fmt(f),
            Self::Shape(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Wrong {}

struct RowDeserializer<'a> {
    row: &'a dyn Row,
}

impl<'a> RowDeserializer<'a> {
    fn only_column(&self) -> Result<ValueDeserializer<'a>, Wrong> {
        match self.row.columns().len() {
            1 => ValueDeserializer::of(self.row, 0),
            count => Err(Wrong::Shape(format!(
                "a single value was asked for, but there are {count} columns (ask for a tuple or a struct)"
            ))),
        }
    }
}

macro_rules! from_the_only_column {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            self.only_column()?.$method(visitor).map_err(|wrong| in_column(self.row, 0, wrong))
        }
    )*};
}

impl<'de> Deserializer<'de> for RowDeserializer<'_> {
    type Error = Wrong;

    from_the_only_column! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_option deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.row.columns().len() == 1 {
            self.only_column()?.deserialize_any(visitor)
        } else {
            self.deserialize_map(visitor)
        }
    }

    /// A `Vec` is the bytes or the elements of one column, or else the values of all of them.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.row.columns().len() == 1 && matches!(ValueDeserializer::of(self.row, 0)?.value, ValueRef::Blob(_)) {
            return self.only_column()?.deserialize_seq(visitor);
        }
        visitor.visit_seq(InOrder { row: self.row, next: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        let count = self.row.columns().len();
        if count != len {
            return Err(Wrong::Shape(format!("{len} columns were asked for, but there are {count}")));
        }
        visitor.visit_seq(InOrder { row: self.row, next: 0 })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(ByName { row: self.row, next: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let only = self.only_column()?;
        only.deserialize_enum(name, variants, visitor).map_err(|wrong| in_column(self.row, 0, wrong))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }
}

struct InOrder<'a> {
    row: &'a dyn Row,
    next: usize,
}

impl<'de> SeqAccess<'de> for InOrder<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        if self.next == self.row.columns().len() {
            return Ok(None);
        }
        let column = self.next;
        self.next += 1;
        decode_column(self.row, column, seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.row.columns().len() - self.next)
    }
}

struct ByName<'a> {
    row: &'a dyn Row,
    next: usize,
}

impl<'de> MapAccess<'de> for ByName<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        match self.row.columns().get(self.next) {
            Some(name) => seed.deserialize((&**name).into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let column = self.next;
        self.next += 1;
        decode_column(self.row, column, seed)
    }
}

fn decode_column<'de, S: DeserializeSeed<'de>>(row: &dyn Row, column: usize, seed: S) -> Result<S::Value, Wrong> {
    seed.deserialize(ValueDeserializer::of(row, column)?).map_err(|wrong| in_column(row, column, wrong))
}

/// Says in which column it was, and what was found there.
fn in_column(row: &dyn Row, column: usize, wrong: Wrong) -> Wrong {
    match (wrong, row.value(column)) {
        (Wrong::Shape(message), Ok(found)) => {
            let name = &row.columns()[column];
            Wrong::Shape(format!("column {name:?} holds {found} ({}): {message}", found.type_name()))
        }
        (wrong, _) => wrong,
    }
}

struct ValueDeserializer<'a> {
    value: ValueRef<'a>,
}

impl<'a> ValueDeserializer<'a> {
    fn of(row: &'a dyn Row, column: usize) -> Result<Self, Wrong> {
        row.value(column).map(|value| Self { value }).map_err(Wrong::Unreadable)
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            ValueRef::Null => visitor.visit_unit(),
            ValueRef::Integer(number) => visitor.visit_i64(number),
            ValueRef::Real(number) => visitor.visit_f64(number),
            ValueRef::Text(text) => visitor.visit_str(text),
            ValueRef::Blob(bytes) => visitor.visit_bytes(bytes),
        }
    }

    /// SQLite has no type for it: 0 and 1 are what it writes for `FALSE` and `TRUE`.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            ValueRef::Integer(number @ (0 | 1)) => visitor.visit_bool(number == 1),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            ValueRef::Blob(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            ValueRef::Blob(bytes) => BytesDeserializer::new(bytes).deserialize_any(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant by its name, for enums without content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.value {
            ValueRef::Text(text) => visitor.visit_enum(text.into_deserializer()),
            ValueRef::Integer(number) => match u32::try_from(number) {
                Ok(index) => visitor.visit_enum(index.into_deserializer()),
                Err(_) => Err(Wrong::Shape("expected the name or the number of a variant".into())),
            },
            _ => Err(Wrong::Shape("expected the name or the number of a variant".into())),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{Columns, Value};
    use serde::Deserialize;
    use std::sync::Arc;

    struct Fixed(Arc<Columns>, Vec<Value>);

    impl Row for Fixed {
        fn columns(&self) -> &Arc<Columns> {
            &self.0
        }
        fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
            Ok(self.1[column].borrow())
        }
    }

    fn row<const N: usize>(columns: [(&str, Value); N]) -> Fixed {
        let names = Columns::new(columns.iter().map(|(name, _)| *name));
        Fixed(Arc::new(names), columns.into_iter().map(|(_, value)| value).collect())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum State {
        Draft,
        Done,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Note {
        id: i64,
        title: String,
        state: State,
        score: Option<f64>,
        pinned: bool,
        body: Vec<u8>,
    }

    #[test]
    fn a_struct_by_the_names_of_the_columns() {
        let row = row([
            ("pinned", Value::Integer(1)),
            ("title", text("bread")),
            ("id", Value::Integer(7)),
            ("unknown", Value::Real(1.0)),
            ("state", text("done")),
            ("score", Value::Null),
            ("body", Value::Blob([1, 2].into())),
        ]);
        let note: Note = decode(&row).unwrap();
        let expected =
            Note { id: 7, title: "bread".into(), state: State::Done, score: None, pinned: true, body: vec![1, 2] };
        assert_eq!(note, expected);
    }

    #[test]
    fn a_tuple_by_the_order_and_a_value_from_the_only_column() {
        let pair = row([("a", Value::Integer(1)), ("b", text("x"))]);
        assert_eq!(decode::<(i64, String)>(&pair).unwrap(), (1, "x".into()));
        let one = row([("n", Value::Integer(300))]);
        assert_eq!(decode::<i64>(&one).unwrap(), 300);
        assert_eq!(decode::<(u16,)>(&one).unwrap(), (300,));
        assert_eq!(decode::<Option<i64>>(&row([("n", Value::Null)])).unwrap(), None);
        assert_eq!(decode::<Vec<u8>>(&row([("b", Value::Blob([9, 8].into()))])).unwrap(), [9, 8]);
        assert_eq!(decode::<f64>(&one).unwrap(), 300.0);
        assert_eq!(decode::<State>(&row([("s", text("draft"))])).unwrap(), State::Draft);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let wrong = |failure: Failure| failure.downcast::<Error>().unwrap().to_string();
        let pair = row([("id", Value::Integer(300)), ("name", text("x"))]);
        let message = wrong(decode::<(u8, String)>(&pair).unwrap_err());
        assert!(message.contains("column \"id\" holds 300 (INTEGER)") && message.contains("u8"), "{message}");
        let message = wrong(decode::<(i64, i64)>(&pair).unwrap_err());
        assert!(message.contains("column \"name\" holds 'x' (TEXT)"), "{message}");
        let message = wrong(decode::<(i64,)>(&pair).unwrap_err());
        assert!(message.contains("1 columns were asked for, but there are 2"), "{message}");
        let message = wrong(decode::<i64>(&pair).unwrap_err());
        assert!(message.contains("a single value was asked for, but there are 2 columns"), "{message}");
        let message = wrong(decode::<Note>(&pair).unwrap_err());
        assert!(message.contains("missing field") || message.contains("unknown"), "{message}");
        assert!(message.contains("its columns are id, name"), "{message}");
        let message = wrong(decode::<(i64, String)>(&row([("a", Value::Null), ("b", text(""))])).unwrap_err());
        assert!(message.contains("column \"a\" holds NULL (NULL)"), "{message}");
        let message = wrong(decode::<bool>(&row([("a", Value::Integer(2))])).unwrap_err());
        assert!(message.contains('2'), "{message}");
    }
}
