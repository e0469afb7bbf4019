//! What was found so far, and where one is.

use std::collections::BTreeSet;
use std::fmt;

use super::FieldError;

/// A spec with more errors than this is not mended from a list.
const ERRORS_MAX: usize = 64;
/// Longest path and longest message: a hostile name must not be echoed whole.
const TEXT_MAX: usize = 600;

/// The path of a field.
#[derive(Debug, Clone)]
pub(super) struct Path(String);

impl Path {
    pub fn root(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// An entry of a map whose keys may have dots in them.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The errors found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<FieldError>,
}

impl Report {
    pub fn add(&mut self, path: &Path, message: impl Into<String>) {
        let cut = |text: String| match text.char_indices().nth(TEXT_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError { path: cut(path.to_string()), message: cut(message.into()) });
        }
    }

    /// Adds the message unless `good` holds.
    pub fn require(&mut self, good: bool, path: &Path, message: impl Into<String>) {
        if !good {
            self.add(path, message);
        }
    }

    /// A list or map of at most `max` entries. False: it is too long to be looked at.
    pub fn fits(&mut self, len: usize, max: usize, path: &Path) -> bool {
        let fits = len <= max;
        if !fits {
            self.add(path, format!("must have at most {max} items; it has {len}"));
        }
        fits
    }

    /// A text of at most `max` bytes.
    pub fn short(&mut self, text: &str, max: usize, path: &Path) -> bool {
        let fits = text.len() <= max;
        if !fits {
            self.add(path, format!("must have at most {max} bytes; it has {}", text.len()));
        }
        fits
    }

    /// A number, if given, of this range.
    pub fn range<T: PartialOrd + fmt::Display>(&mut self, number: Option<T>, min: T, max: T, path: &Path) {
        if let Some(number) = number
            && (number < min || number > max)
        {
            self.add(path, format!("must be between {min} and {max}, inclusive; it is {number}"));
        }
    }

    /// The key of an entry of a list that is a map in the CRD: no other entry has it.
    pub fn unique<'a>(&mut self, taken: &mut BTreeSet<&'a str>, key: &'a str, path: &Path) {
        self.require(
            taken.insert(key),
            path,
            format!("duplicate value {key:?}: another entry of the list has it"),
        );
    }

    /// Exactly one of several alternatives. `given` says which are there.
    pub fn exactly_one(&mut self, what: &str, given: &[(&str, bool)], path: &Path) {
        let names = given.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match given.iter().filter(|(_, there)| *there).count() {
            0 => self.add(path, format!("must specify a {what}: one of {names}")),
            1 => {}
            _ => self.add(path, format!("may not specify more than 1 {what}: only one of {names}")),
        }
    }

    pub fn into_result(self) -> Result<(), Vec<FieldError>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}
