//! What is wrong with an app, and the path of the field. The path grows on the way out, so that reading a good app costs nothing for it.

use std::fmt;

/// One thing that this agent cannot honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// From the app's root, such as `template.containers[0].ports[1].hostPort`. Kubernetes' spelling.
    path: String,
    why: String,
}

impl Wrong {
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self { path: String::new(), why: why.to_string() }
    }

    pub(super) fn missing() -> Self {
        Self::new("missing")
    }

    /// What only a newer agent knows.
    pub(super) fn newer(what: impl fmt::Display) -> Self {
        Self::new(format_args!("{what} is unknown to this agent; it needs a newer agent"))
    }

    /// The same, seen from the field's parent.
    pub(super) fn under(mut self, field: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.why)
    }
}

/// Adds a step to the path of what is wrong.
pub(super) trait Under<T> {
    fn under(self, field: &str) -> Result<T, Wrong>;
}

impl<T> Under<T> for Result<T, Wrong> {
    fn under(self, field: &str) -> Self {
        self.map_err(|wrong| wrong.under(field))
    }
}

/// Reads every entry of a list, with its index in the path, and refuses a list over its cap.
pub(super) fn each<T, U>(
    field: &str,
    list: Vec<T>,
    max: usize,
    mut read: impl FnMut(T) -> Result<U, Wrong>,
) -> Result<Vec<U>, Wrong> {
    check_length(field, list.len(), max)?;
    let entries = list.into_iter().enumerate();
    entries
        .map(|(i, entry)| read(entry).map_err(|wrong| wrong.under(&format!("[{i}]")).under(field)))
        .collect()
}

pub(super) fn check_length(field: &str, length: usize, max: usize) -> Result<(), Wrong> {
    if length <= max { Ok(()) } else { Err(Wrong::new(format_args!("{length}, at most {max}")).under(field)) }
}

/// An enum value that this build knows.
pub(super) fn known<E: TryFrom<i32>>(value: i32) -> Result<E, Wrong> {
    E::try_from(value).map_err(|_| Wrong::newer(format_args!("value {value}")))
}

/// A choice that is made. Which one it is may be news to this agent: protobuf drops what it does not know.
pub(super) fn chosen<T>(choice: Option<T>) -> Result<T, Wrong> {
    choice.ok_or_else(|| Wrong::newer("what it is made of"))
}
