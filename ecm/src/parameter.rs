use ecm_core::{Error, Kind, Value, ValueRef};
use std::borrow::Cow;

/// A value bound to a parameter of a statement: what [`bind`](crate::Call::bind) takes.
///
/// Made by `From` from integers, floats, `bool`, `&str`, `String`, bytes, and `Option` of each.
/// Borrowed texts and bytes are not copied. An unsigned number beyond `i64::MAX` is refused when the
/// call runs, since no database would store it unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter<'a>(Inner<'a>);

#[derive(Clone, Debug, PartialEq)]
enum Inner<'a> {
    Value(ValueRef<'a>),
    Text(String),
    Blob(Vec<u8>),
    TooLarge(u64),
}

impl Parameter<'_> {
    /// This value, borrowed. `position` counts from 1, for the message.
    pub(crate) fn value(&self, position: usize) -> Result<ValueRef<'_>, Error> {
        Ok(match &self.0 {
            Inner::Value(value) => *value,
            Inner::Text(text) => ValueRef::Text(text),
            Inner::Blob(bytes) => ValueRef::Blob(bytes),
            Inner::TooLarge(number) => {
                let message = format!("parameter {position} = {number} is too large: at most {}", i64::MAX);
                return Err(Error::new(Kind::Decode, message));
            }
        })
    }
}

impl<'a> From<ValueRef<'a>> for Parameter<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        Self(Inner::Value(value))
    }
}

impl From<Value> for Parameter<'_> {
    fn from(value: Value) -> Self {
        Self(match value {
            Value::Null => Inner::Value(ValueRef::Null),
            Value::Integer(number) => Inner::Value(ValueRef::Integer(number)),
            Value::Real(number) => Inner::Value(ValueRef::Real(number)),
            Value::Text(text) => Inner::Text(text.into()),
            Value::Blob(bytes) => Inner::Blob(bytes.into()),
        })
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl From<$type> for Parameter<'_> {
            fn from(number: $type) -> Self {
                Self(Inner::Value(ValueRef::Integer(number.into())))
            }
        }
    )*};
}

integers!(bool, i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for Parameter<'_> {
    fn from(number: u64) -> Self {
        Self(i64::try_from(number).map_or(Inner::TooLarge(number), |number| Inner::Value(ValueRef::Integer(number))))
    }
}

impl From<usize> for Parameter<'_> {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<isize> for Parameter<'_> {
    fn from(number: isize) -> Self {
        Self::from(number as i64)
    }
}

impl From<f32> for Parameter<'_> {
    fn from(number: f32) -> Self {
        Self(Inner::Value(ValueRef::Real(number.into())))
    }
}

impl From<f64> for Parameter<'_> {
    fn from(number: f64) -> Self {
        Self(Inner::Value(ValueRef::Real(number)))
    }
}

impl<'a> From<&'a str> for Parameter<'a> {
    fn from(text: &'a str) -> Self {
        Self(Inner::Value(ValueRef::Text(text)))
    }
}

impl<'a> From<&'a String> for Parameter<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Parameter<'_> {
    fn from(text: String) -> Self {
        Self(Inner::Text(text))
    }
}

impl<'a> From<Cow<'a, str>> for Parameter<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        }
    }
}

impl<'a> From<&'a [u8]> for Parameter<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Inner::Value(ValueRef::Blob(bytes)))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Parameter<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(Inner::Value(ValueRef::Blob(bytes)))
    }
}

impl<'a> From<&'a Vec<u8>> for Parameter<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl From<Vec<u8>> for Parameter<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Inner::Blob(bytes))
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Parameter<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(Inner::Value(ValueRef::Null)), Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_become_the_values_one_expects() {
        let cases: [(Parameter<'_>, ValueRef<'_>); 9] = [
            (7.into(), ValueRef::Integer(7)),
            (true.into(), ValueRef::Integer(1)),
            (7_u64.into(), ValueRef::Integer(7)),
            (0.5.into(), ValueRef::Real(0.5)),
            ("text".into(), ValueRef::Text("text")),
            (String::from("owned").into(), ValueRef::Text("owned")),
            (vec![1_u8].into(), ValueRef::Blob(&[1])),
            (None::<i64>.into(), ValueRef::Null),
            (Some("some").into(), ValueRef::Text("some")),
        ];
        for (parameter, expected) in cases {
            assert_eq!(parameter.value(1).unwrap(), expected);
        }
    }

    #[test]
    fn a_number_that_would_wrap_around_is_refused_by_position() {
        let error = Parameter::from(u64::MAX).value(3).unwrap_err();
        assert_eq!(error.kind(), Kind::Decode);
        assert!(error.to_string().contains("parameter 3 = 18446744073709551615"), "{error}");
    }
}
