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
/// A longer file is no password and no token, and nobody prints it as a whole.
const SECRET_MAX: usize = 4096;

impl Secrets {
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let fits = |value: &&str| (SECRET_MIN..=SECRET_MAX).contains(&value.len());
        let mut secrets: Vec<Sensitive> =
            values.into_iter().filter(fits).map(|value| Sensitive(value.to_owned())).collect();
        // One may be a part of another.
        secrets.sort_by_key(|value| std::cmp::Reverse(value.0.len()));
        secrets.dedup();
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
        let secrets = Secrets::of(["hunter22", "hunter22-long", "a\"b\nc", "abc"]);
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
