//! Image references as registries define them: `[HOST[:PORT]/]PATH[:TAG][@ALGORITHM:DIGEST]`.

use crate::bounds;

/// Longest tag.
const TAG: usize = 128;

pub(super) const RULE: &str =
    "must be an image reference: [HOST[:PORT]/]PATH[:TAG][@DIGEST], the path in lower case";

/// The same language as the pattern of the schema.
pub(super) fn is_reference(text: &str) -> bool {
    if text.len() > bounds::IMAGE {
        return false;
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    digest.is_none_or(is_digest) && is_name(name)
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm.bytes().all(is_path_byte)
            && (32..=128).contains(&hex.len())
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// All before the digest. A colon after the last slash begins a tag; the part before the first slash may be a host.
fn is_name(name: &str) -> bool {
    let start_of_last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match name[start_of_last..].split_once(':') {
        Some((last, tag)) => (&name[..start_of_last + last.len()], Some(tag)),
        None => (name, None),
    };
    let is_path = |path: &str| path.split('/').all(is_component);
    let with_host = || path.split_once('/').is_some_and(|(host, rest)| is_host(host) && is_path(rest));
    tag.is_none_or(is_tag) && (is_path(path) || with_host())
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG).contains(&tag.len())
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// One part of the path: words in lower case with separators between them.
fn is_component(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(is_path_byte);
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| is_path_byte(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn is_path_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_the_pattern_of_the_schema() {
        let regex = regex::Regex::new(crate::names::IMAGE).expect("a pattern");
        let digest = "a".repeat(32);
        let good = [
            "web",
            "web:1",
            "a/b",
            "a/b/c:1.2-x_y",
            "registry.example/web",
            "registry.example:5000/web",
            "Host/web",
            "localhost:5000/a__b.c-d:Latest",
            "a:5/b",
            "0",
        ];
        let bad = [
            "",
            "Web",
            "web:",
            "web:-1",
            "/web",
            "web/",
            "a//b",
            "-a",
            "a-",
            "a/-b",
            "web@",
            "a b",
            "host:x/web",
            "a:1:2",
            "web@sha256:12",
            "ä",
            "a:/b",
            ":1",
            "Host/Web",
            "web:1/",
            "x@@y",
            "http://x/y",
            "-h/web",
        ];
        for (texts, expected) in [(&good[..], true), (&bad[..], false)] {
            for text in texts {
                for text in [(*text).to_owned(), format!("{text}@sha256:{digest}")] {
                    assert_eq!(is_reference(&text), regex.is_match(&text), "{text:?}");
                }
                assert_eq!(is_reference(text), expected, "{text:?}");
            }
        }
        assert!(is_reference(&format!("web:1@sha256:{digest}")));
        assert!(!is_reference(&format!("web:{}", "1".repeat(129))));
        assert!(!is_reference(&"a".repeat(bounds::IMAGE + 1)));
    }
}
