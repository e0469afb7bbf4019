//! Names, checked once at the edge. Everything behind it may rely on their shape, so a name can stand in a
//! label, a Docker container name or a file name without being escaped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest DNS-1123 label: Kubernetes namespaces and container names.
pub const LABEL_MAX: usize = 63;
/// Longest DNS-1123 subdomain: Kubernetes object names.
pub const SUBDOMAIN_MAX: usize = 253;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{what} must not be empty")]
    Empty { what: &'static str },
    #[error("{what} {text:?} has {length} characters, at most {max} are allowed")]
    TooLong { what: &'static str, text: String, length: usize, max: usize },
    #[error(
        "{what} {text:?} must consist of lower case letters, digits and '-'{dots}, and begin and end with a letter or digit"
    )]
    Shape { what: &'static str, text: String, dots: &'static str },
    #[error("{text:?} is not NAMESPACE/NAME")]
    NoNamespace { text: String },
}

/// A DNS-1123 label as Kubernetes defines it.
fn check_label(what: &'static str, text: &str) -> Result<(), NameError> {
    check_length(what, text, LABEL_MAX)?;
    if is_label(text) { Ok(()) } else { Err(NameError::Shape { what, text: text.to_owned(), dots: "" }) }
}

/// A DNS-1123 subdomain as Kubernetes defines it: labels joined by dots.
fn check_subdomain(what: &'static str, text: &str) -> Result<(), NameError> {
    check_length(what, text, SUBDOMAIN_MAX)?;
    if text.split('.').all(is_label) {
        Ok(())
    } else {
        Err(NameError::Shape { what, text: text.to_owned(), dots: " and '.'" })
    }
}

fn check_length(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty { what }),
        length if length > max => {
            // A hostile name must not be echoed whole.
            let text = text.chars().take(max).collect();
            Err(NameError::TooLong { what, text, length, max })
        }
        _ => Ok(()),
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $check($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of an edge node: the name of its `EdgeNode` object.
    NodeName,
    "node name",
    check_subdomain
);
name_type!(
    /// The name of a container within its app.
    ContainerName,
    "container name",
    check_label
);

/// An app as both ends name it: namespace and name of its `EdgeApp` object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppKey {
    namespace: String,
    name: String,
}

impl AppKey {
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        check_label("namespace", namespace)?;
        check_subdomain("app name", name)?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for AppKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Err(NameError::NoNamespace { text: text.chars().take(LABEL_MAX).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_names_are_accepted() {
        for name in ["a", "box-7", "box.7.plant", "0", "a0-b"] {
            assert_eq!(name.parse::<NodeName>().expect("a name").as_str(), name);
        }
        assert!("a.b".parse::<ContainerName>().is_err(), "a container name is one label");
    }

    #[test]
    fn what_could_escape_into_a_path_or_a_shell_is_refused() {
        for name in ["", "-a", "a-", "A", "a_b", "a/b", "..", "a..b", "a b", "a;b", "ä", "a\0b"] {
            assert!(name.parse::<NodeName>().is_err(), "{name:?}");
        }
        assert!(AppKey::new("kube.system", "a").is_err(), "a namespace is one label");
    }

    #[test]
    fn a_long_name_is_refused_and_not_echoed_whole() {
        let long = "a".repeat(100_000);
        let error = long.parse::<NodeName>().expect_err("too long");
        assert!(error.to_string().len() < 400, "{}", error.to_string().len());
        assert!(error.to_string().contains("100000 characters"));
    }

    #[test]
    fn an_app_key_reads_back_what_it_prints() {
        let key: AppKey = "plant-a/line-camera".parse().expect("a key");
        assert_eq!((key.namespace(), key.name()), ("plant-a", "line-camera"));
        assert_eq!(key.to_string().parse::<AppKey>().as_ref(), Ok(&key));
    }
}
