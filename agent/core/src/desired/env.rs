//! Environment variables: what is known when the spec is read, and what only the running container has.

use std::fmt;

use serde::Serialize;

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    pub name: String,
    pub value: EnvValue,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum EnvValue {
    /// From the spec: `$(VAR)` in it is expanded.
    Literal(String),
    /// From a ConfigMap or a field: taken as it is.
    Resolved(String),
    /// From a Secret: taken as it is, and never shown.
    Secret(Sensitive),
    /// The box's address, at the time of creation.
    HostIp,
    /// The address of the app's network, at the time of creation.
    PodIp,
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Sensitive(pub String);

/// Values that come from Secrets: what they must not be seen in is told through [`Secrets::hide`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<Sensitive>);

/// A shorter value is in every other text by chance, and whoever knows that it was hidden knows it.
const SECRET_MIN: usize = 4;

impl Secrets {
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a EnvValue>) -> Self {
        let secret = |value: &EnvValue| match value {
            EnvValue::Secret(value) if value.0.len() >= SECRET_MIN => Some(value.clone()),
            EnvValue::Secret(_)
            | EnvValue::Literal(_)
            | EnvValue::Resolved(_)
            | EnvValue::HostIp
            | EnvValue::PodIp => None,
        };
        let mut secrets: Vec<Sensitive> = values.into_iter().filter_map(secret).collect();
        // One may be a part of another.
        secrets.sort_by_key(|value| std::cmp::Reverse(value.0.len()));
        Self(secrets)
    }

    /// The text with `***` in place of each value, as it is or quoted.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, Sensitive(value)| {
            let quoted = value.escape_debug().to_string();
            text.replace(value.as_str(), "***").replace(&quoted, "***")
        })
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_hidden_as_they_are_and_quoted() {
        let secret = |value: &str| EnvValue::Secret(Sensitive(value.to_owned()));
        let values = [
            secret("hunter22"),
            secret("hunter22-long"),
            secret("a\"b\nc"),
            secret("abc"),
            EnvValue::Literal("exec".into()),
        ];
        let secrets = Secrets::of(&values);
        for (text, hidden) in [
            ("exec: \"/hunter22/nope\": no such file", "exec: \"/***/nope\": no such file"),
            ("hunter22-long, hunter22", "***, ***"),
            ("exec: \"a\\\"b\\nc\"", "exec: \"***\""),
            ("abc", "abc"),
        ] {
            assert_eq!(secrets.hide(text), hidden);
        }
    }
}
