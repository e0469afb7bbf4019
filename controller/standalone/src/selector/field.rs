//! Field selectors: `metadata.name=x,metadata.namespace!=y`. Which fields can be selected by is a property of the kind.

use serde_json::Value;

use crate::meta::cause::quote;
use crate::status::ApiError;

use super::MAX_LENGTH;

/// The fields that a kind's objects can be selected by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableFields {
    /// What clients write, and where the value stands in the stored object.
    fields: Vec<(String, String)>,
    /// Whether the kind has a list of its own, which words the refusal.
    own: bool,
}

impl SelectableFields {
    /// The fields of a built-in kind. Both Event kinds are stored as core/v1 writes them.
    pub fn of_built_in(group: &str, kind: &str) -> Self {
        let same: &[&str] = match (group, kind) {
            ("", "Namespace") => &["metadata.name", "status.phase"],
            ("", "Secret") => &["metadata.name", "metadata.namespace", "type"],
            ("certificates.k8s.io", "CertificateSigningRequest") => &["metadata.name", "spec.signerName"],
            ("" | "events.k8s.io", "Event") => &["metadata.name", "metadata.namespace", "reason", "type"],
            _ => return Self { fields: pairs(&["metadata.name", "metadata.namespace"]), own: false },
        };
        let mut fields = pairs(same);
        let object = match (group, kind) {
            ("", "Event") => {
                fields.extend(pairs(&["reportingComponent", "source"]));
                "involvedObject"
            }
            (_, "Event") => {
                fields.push(("reportingController".to_owned(), "reportingComponent".to_owned()));
                "regarding"
            }
            _ => return Self { fields, own: true },
        };
        for field in ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"] {
            fields.push((format!("{object}.{field}"), format!("involvedObject.{field}")));
        }
        Self { fields, own: true }
    }

    /// The fields of a custom resource: its name, its namespace if it has one, and the `selectableFields` of its definition, each
    /// a path with or without the leading dot.
    pub fn of_custom(namespaced: bool, selectable: &[String]) -> Self {
        let mut fields =
            pairs(if namespaced { &["metadata.name", "metadata.namespace"] } else { &["metadata.name"] });
        let own = selectable.iter().map(|path| path.strip_prefix('.').unwrap_or(path));
        fields.extend(own.map(|path| (path.to_owned(), path.to_owned())));
        Self { fields, own: true }
    }

    fn path(&self, name: &str) -> Result<&str, String> {
        let found = self.fields.iter().find(|(written, _)| written == name);
        found.map(|(_, path)| path.as_str()).ok_or_else(|| {
            if self.own {
                format!("field label not supported: {name}")
            } else {
                let known = "only \"metadata.name\", \"metadata.namespace\"";
                format!("{} is not a known field selector: {known}", quote(name))
            }
        })
    }
}

fn pairs(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect()
}

/// What an object's fields must be: all of the terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    path: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads a selector; the empty text selects everything. 400 when it cannot be read or names a field that is none of `fields`.
    pub fn parse(text: &str, fields: &SelectableFields) -> Result<Self, ApiError> {
        if text.len() > MAX_LENGTH {
            return Err(ApiError::bad_request(format!(
                "the field selector is longer than {MAX_LENGTH} bytes"
            )));
        }
        let terms = Self::terms(text, fields).map_err(ApiError::bad_request)?;
        Ok(Self { terms })
    }

    /// Reads a selector without knowing the kind, for its form alone.
    pub fn check_form(text: &str) -> Result<(), ApiError> {
        if text.len() > MAX_LENGTH {
            return Err(ApiError::bad_request(format!(
                "the field selector is longer than {MAX_LENGTH} bytes"
            )));
        }
        split(text).map(drop).map_err(ApiError::bad_request)
    }

    fn terms(text: &str, fields: &SelectableFields) -> Result<Vec<Term>, String> {
        let mut terms = Vec::new();
        for (name, equal, value) in split(text)? {
            // A term of two empty halves asks for nothing; the real server drops it unseen.
            if name.is_empty() && value.is_empty() {
                continue;
            }
            terms.push(Term { path: fields.path(&name)?.to_owned(), equal, value });
        }
        Ok(terms)
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether this stored object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| (field(object, &term.path) == term.value) == term.equal)
    }

    /// The one name that is asked for, if the selector says so: then no list has to be searched.
    pub fn exact_name(&self) -> Option<&str> {
        let term = self.terms.iter().find(|term| term.equal && term.path == "metadata.name")?;
        Some(&term.value)
    }
}

/// The terms in alphabetical order, which decides which fault is told.
fn split(text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts.sort_unstable();
    parts.retain(|part| !part.is_empty());
    parts.into_iter().map(|part| term(text, part)).collect()
}

fn term(text: &str, part: &str) -> Result<(String, bool, String), String> {
    let unclear = || format!("invalid selector: '{text}'; can't understand '{part}'");
    // `!` counts only before `=`.
    let at = part.find('=').ok_or_else(unclear)?;
    let (before, after) = part.split_at(at);
    let after = after.strip_prefix('=').unwrap_or(after);
    let (name, equal, value) = match before.strip_suffix('!') {
        Some(name) => (name, false, after),
        None => (before, true, after.strip_prefix('=').unwrap_or(after)),
    };
    Ok((name.to_owned(), equal, unescape(value)?))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let rest = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{rest}"));
                }
            },
            ',' | '=' => {
                let code = u32::from(letter);
                return Err(format!("invalid field selector: unescaped character in value: {code}"));
            }
            _ => out.push(letter),
        }
    }
    Ok(out)
}

/// The field as it is compared: the empty text when it is absent.
fn field(object: &Value, path: &str) -> String {
    let at = |path: &str| path.split('.').try_fold(object, |value, name| value.get(name));
    if path == "source" {
        // An Event's source is whoever reports it, in the old form or in the new one.
        let old = at("source.component").and_then(Value::as_str).filter(|text| !text.is_empty());
        return old
            .or_else(|| at("reportingComponent").and_then(Value::as_str))
            .unwrap_or_default()
            .to_owned();
    }
    match at(path) {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}
