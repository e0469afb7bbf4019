//! The shapes of texts: names, keys, paths. Each has its rule in words beside it.

use super::report::{Path, Report};
use crate::bounds;

pub(super) const LABEL: &str =
    "must be 1 to 63 lower case letters, digits and '-', and begin and end with a letter or digit";
pub(super) const SUBDOMAIN: &str = "must be 1 to 253 lower case letters, digits, '-' and '.', and each part between dots must begin and end with a letter or digit";
const CONFIG_KEY: &str = "a key must be 1 to 253 letters, digits, '-', '_' and '.'";
const QUALIFIED: &str = "a key must be [PREFIX/]NAME: NAME of at most 63 letters, digits, '-', '_' and '.' that begins and ends with a letter or digit, PREFIX a DNS subdomain";
const LABEL_VALUE: &str = "a label's value must be empty or at most 63 letters, digits, '-', '_' and '.' that begin and end with a letter or digit";

/// A DNS label.
pub(super) fn is_label(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= bounds::LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// A DNS subdomain: labels joined by dots. As in Kubernetes, only the whole has a longest length.
pub(super) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= bounds::SUBDOMAIN && text.split('.').all(part)
}

/// The name part of a label's key, or a label's value that is not empty.
fn is_word(text: &str) -> bool {
    (1..=bounds::LABEL).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The key of a label, annotation or taint.
pub(super) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_word(name),
        None => is_word(text),
    }
}

/// Printable ASCII other than '='.
pub(super) fn is_env_name(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

pub(super) fn label(text: &str, path: &Path, report: &mut Report) {
    report.require(is_label(text), path, LABEL);
}

pub(super) fn subdomain(text: &str, path: &Path, report: &mut Report) {
    report.require(is_subdomain(text), path, SUBDOMAIN);
}

pub(super) fn qualified_name(text: &str, path: &Path, report: &mut Report) {
    report.require(is_qualified_name(text), path, QUALIFIED);
}

pub(super) fn label_value(text: &str, path: &Path, report: &mut Report) {
    report.require(text.is_empty() || is_word(text), path, LABEL_VALUE);
}

/// A key of a ConfigMap or Secret. Kubernetes allows no leading `..` and not `.` alone: it becomes a file.
pub(super) fn config_key(text: &str, path: &Path, report: &mut Report) {
    let good = (1..=bounds::SUBDOMAIN).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    report.require(good, path, CONFIG_KEY);
    report.require(text != "." && !text.starts_with(".."), path, "must not be '.' and not start with '..'");
}

/// Bytes that no path can have.
fn path_text(text: &str, path: &Path, report: &mut Report) {
    report.require(!text.is_empty(), path, "must be given");
    report.short(text, bounds::PATH, path);
    report.require(!text.contains('\0'), path, "must not contain a NUL byte");
}

fn no_dots(text: &str, path: &Path, report: &mut Report) {
    report.require(!text.split('/').any(|part| part == ".."), path, "must not contain '..'");
}

/// A path from the root.
pub(super) fn absolute_path(text: &str, path: &Path, report: &mut Report) {
    path_text(text, path, report);
    report.require(
        text.is_empty() || text.starts_with('/'),
        path,
        "must be an absolute path: it begins with '/'",
    );
    no_dots(text, path, report);
}

/// A path inside something.
pub(super) fn relative_path(text: &str, path: &Path, report: &mut Report) {
    path_text(text, path, report);
    report.require(!text.starts_with('/'), path, "must be a relative path: it does not begin with '/'");
    no_dots(text, path, report);
}

/// The path of a file that is put into a volume. Kubernetes keeps names that begin with `..` for itself.
pub(super) fn file_path(text: &str, path: &Path, report: &mut Report) {
    relative_path(text, path, report);
    let first = text.split('/').find(|part| !part.is_empty() && *part != ".");
    report.require(first.is_some() || text.is_empty(), path, "must name a file");
    let reserved = first.is_some_and(|first| first.starts_with("..") && first != "..");
    report.require(!reserved, path, "must not start with '..'");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_are_the_patterns_of_the_schema() {
        let texts = [
            "", "a", "A", "-a", "a-", "a-b", "a_b", "a.b", "a..b", ".a", "a.", "a.-b", "0", "a b", "ä",
            "a=b", "x/y", "a\n",
        ];
        let long = "a".repeat(64);
        let agree = |pattern: &str, max: usize, check: &dyn Fn(&str) -> bool| {
            let regex = regex::Regex::new(pattern).expect("a pattern");
            for text in texts.into_iter().chain([long.as_str()]) {
                assert_eq!(regex.is_match(text) && text.len() <= max, check(text), "{pattern} {text:?}");
            }
        };
        agree(crate::names::LABEL, bounds::LABEL, &is_label);
        agree(crate::names::SUBDOMAIN, bounds::SUBDOMAIN, &is_subdomain);
        agree(crate::names::ENV, bounds::SUBDOMAIN, &|text| !text.is_empty() && is_env_name(text));
    }
}
