//! Which objects of a list or a watch are meant: by their labels and by a few of their fields.

mod field;
mod label;

pub use field::{FieldSelector, SelectableFields};
pub use label::LabelSelector;

/// The longest selector that is read. A URL longer than this is refused by common proxies as well.
const MAX_LENGTH: usize = 64 * 1024;

#[cfg(test)]
mod tests;
