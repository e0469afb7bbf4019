//! Reads a value into a type and finds what the type does not know: a field that is misspelled is an error with its path, as it is at
//! `kubectl apply`, and never ignored.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// Unknown fields that a message names.
const NAMED_MAX: usize = 5;

/// Fails with the path of each field that is wrong.
pub(super) fn read<T: DeserializeOwned>(root: &str, value: &Value) -> Result<T, String> {
    let findings = Findings::default();
    let place = Place { value, path: &Path::Root(root), findings: &findings };
    let read = T::deserialize(place).map_err(|error| match findings.explained.get() {
        true => error.to_string(),
        false => format!("{root}: {error}"),
    })?;
    let mut unknown = findings.unknown.into_inner();
    match unknown.is_empty() {
        true => Ok(read),
        false => {
            unknown.truncate(NAMED_MAX);
            Err(unknown.iter().map(|path| format!("{path}: unknown field")).collect::<Vec<_>>().join("; "))
        }
    }
}

#[derive(Default)]
struct Findings {
    unknown: RefCell<Vec<String>>,
    /// The error has its path already.
    explained: Cell<bool>,
}

enum Path<'a> {
    Root(&'a str),
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Place<'a> {
    value: &'a Value,
    path: &'a Path<'a>,
    findings: &'a Findings,
}

impl Place<'_> {
    /// The innermost place that fails names itself; those around it pass the words on.
    fn explain(&self, error: Error) -> Error {
        if self.findings.explained.replace(true) {
            return error;
        }
        Error::custom(format_args!("{}: {error}", self.path))
    }
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self { value, path, findings } = self;
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => {
                visitor.visit_seq(Items { items: items.iter().enumerate(), path, findings })
            }
            Value::Object(fields) => {
                visitor.visit_map(Fields { fields: fields.iter(), value: None, path, findings })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// The enums of our types have no fields.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.clone().deserialize_enum(name, variants, visitor)
    }

    /// Serde asks to ignore what the type has no field for.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.findings.unknown.borrow_mut().push(self.path.to_string());
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    path: &'a Path<'a>,
    findings: &'a Findings,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let path = Path::Item(self.path, index);
        let place = Place { value, path: &path, findings: self.findings };
        seed.deserialize(place).map(Some).map_err(|error| place.explain(error))
    }
}

struct Fields<'a> {
    fields: <&'a Map<String, Value> as IntoIterator>::IntoIter,
    /// The field whose name was asked for last.
    value: Option<(&'a str, &'a Value)>,
    path: &'a Path<'a>,
    findings: &'a Findings,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some((name, value));
        seed.deserialize(StrDeserializer::<Error>::new(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (name, value) = self.value.take().ok_or_else(|| Error::custom("a value without a name"))?;
        let path = Path::Field(self.path, name);
        let place = Place { value, path: &path, findings: self.findings };
        seed.deserialize(place).map_err(|error| place.explain(error))
    }
}
