//! Reads any value while noting fields that stand there twice, which serde_json's own `Value` takes silently, and within a bound that
//! aliases of YAML cannot get around.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A real server's decoder stops counting there.
const MAX_DUPLICATES: usize = 100;
/// YAML's merge key.
const MERGE: &str = "<<";

/// What is noted while a body is read.
#[derive(Debug)]
pub struct Strict {
    /// Paths of fields that stand there twice, in the order of the text; the last one counts.
    pub duplicates: Vec<String>,
    /// Values, and bytes of text, that may still be read.
    left: usize,
}

impl Strict {
    /// With a bound on values and bytes of text.
    pub fn new(values: usize) -> Self {
        Self { duplicates: Vec::new(), left: values }
    }

    /// Reading was ended by the number of values.
    pub fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// Takes the bytes of a text from what is left: an alias repeats a long one for three bytes.
    fn spend<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 { Err(E::custom("too many values")) } else { Ok(()) }
    }

    fn duplicate(&mut self, path: String) {
        if self.duplicates.len() < MAX_DUPLICATES && !self.duplicates.contains(&path) {
            self.duplicates.push(path);
        }
    }
}

/// Where a value stands; the path is spelled only when something is wrong there.
#[derive(Debug)]
pub struct Place<'a> {
    strict: &'a mut Strict,
    path: &'a Path<'a>,
}

#[derive(Debug)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => out.write_str(name),
            Self::Field(parent, name) => write!(out, "{parent}.{name}"),
            Self::Item(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

impl<'a> Place<'a> {
    /// The whole text.
    pub fn root(strict: &'a mut Strict) -> Self {
        Self { strict, path: &Path::Root }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.strict.spend(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    #[expect(clippy::cast_precision_loss, reason = "Go reads what an int64 cannot hold as a float64")]
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Value::Number(value.into())),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom(format_args!("json: unsupported value: {value}")))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.strict.spend(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.strict.spend(value.len())?;
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::Item(self.path, list.len());
            let Some(item) = items.next_element_seed(Place { strict: &mut *self.strict, path: &path })?
            else {
                break;
            };
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        let mut merged = None;
        while let Some(name) = entries.next_key_seed(Name)? {
            self.strict.spend(name.len())?;
            let path = Path::Field(self.path, &name);
            if fields.contains_key(&name) {
                self.strict.duplicate(path.to_string());
            }
            let value = entries.next_value_seed(Place { strict: &mut *self.strict, path: &path })?;
            if name == MERGE && matches!(value, Value::Object(_)) {
                merged = Some(value);
            } else {
                fields.insert(name, value);
            }
        }
        if let Some(Value::Object(others)) = merged {
            for (name, value) in others {
                fields.entry(name).or_insert(value);
            }
        }
        Ok(Value::Object(fields))
    }

    /// A YAML tag of the writer's own: the value counts.
    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _tagged: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("tags are not supported"))
    }
}

/// A key. Scalars of YAML that are no strings become strings, as JSON must have them.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key that is a scalar")
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<String, E> {
        Ok(value)
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }
}
