//! What names, label keys and label values may look like, and the names that the server makes up itself.

/// The longest DNS subdomain (RFC 1123).
pub const MAX_SUBDOMAIN: usize = 253;
/// The longest DNS label, label value and name part of a label key.
pub const MAX_LABEL: usize = 63;

/// What is appended to `generateName`: without vowels and easily confused digits, so that no word appears.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// How a kind's names must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// `a.b-c`: nearly every kind.
    Subdomain,
    /// `b-c`: namespaces.
    Label,
    /// Whatever a path segment can hold: CertificateSigningRequest.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name.
    pub fn faults(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => subdomain(name),
            Self::Label => label(name),
            Self::PathSegment => path_segment(name),
        }
    }

    /// What is wrong with the beginning of a name: a dash may be its last letter.
    pub fn prefix_faults(self, prefix: &str) -> Vec<String> {
        match self {
            Self::Subdomain | Self::Label => match prefix.strip_suffix('-') {
                Some(rest) if !rest.is_empty() => self.faults(&format!("{rest}a")),
                _ => self.faults(prefix),
            },
            Self::PathSegment => path_parts(prefix),
        }
    }
}

/// A name from `generateName` and five random letters. `random` should have at least five bytes; missing ones count as zero.
pub fn generate(base: &str, random: &[u8]) -> String {
    let most = base.len().min(MAX_LABEL - SUFFIX_LENGTH);
    let base = (0..=most).rev().find_map(|end| base.get(..end)).unwrap_or_default();
    let letter = |at: usize| {
        let index = usize::from(random.get(at).copied().unwrap_or(0)) % SUFFIX_ALPHABET.len();
        SUFFIX_ALPHABET.get(index).copied().map_or('b', char::from)
    };
    base.chars().chain((0..SUFFIX_LENGTH).map(letter)).collect()
}

/// What is wrong with a DNS label.
pub fn label(name: &str) -> Vec<String> {
    let mut faults = longer_than(name, MAX_LABEL, "characters");
    if !is_label(name) {
        faults.push(if is_subdomain(name) {
            "must not contain dots".to_owned()
        } else {
            format!(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with \
                 an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
            )
        });
    }
    faults
}

/// What is wrong with a DNS subdomain.
pub fn subdomain(name: &str) -> Vec<String> {
    subdomain_counting(name, "characters")
}

fn subdomain_counting(name: &str, unit: &str) -> Vec<String> {
    let mut faults = longer_than(name, MAX_SUBDOMAIN, unit);
    if !is_subdomain(name) {
        faults.push(format!(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
             with an alphanumeric character (e.g. 'example.com', regex used for validation is '{LABEL}(\\.{LABEL})*')"
        ));
    }
    faults
}

/// What is wrong with the key of a label or an annotation, or with a finalizer.
pub fn qualified(key: &str) -> Vec<String> {
    let shape = format!(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
         'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{KEY}')"
    );
    let mut faults = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(
                    subdomain_counting(prefix, "bytes")
                        .into_iter()
                        .map(|fault| format!("prefix part {fault}")),
                );
            }
            name
        }
        _ => {
            let form = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {shape} {form}")];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    }
    faults
        .extend(longer_than(name, MAX_LABEL, "bytes").into_iter().map(|fault| format!("name part {fault}")));
    if !is_key_name(name) {
        faults.push(format!("name part {shape}"));
    }
    faults
}

/// What is wrong with the value of a label.
pub fn label_value(value: &str) -> Vec<String> {
    let mut faults = longer_than(value, MAX_LABEL, "bytes");
    if !value.is_empty() && !is_key_name(value) {
        faults.push(format!(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
             with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({KEY})?')"
        ));
    }
    faults
}

/// What is wrong with a key of a ConfigMap or a Secret.
pub fn data_key(key: &str) -> Vec<String> {
    let mut faults = longer_than(key, MAX_SUBDOMAIN, "characters");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(known) {
        faults.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match key {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        _ if key.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") { vec![format!("may not be '{name}'")] } else { path_parts(name) }
}

fn path_parts(name: &str) -> Vec<String> {
    let parts = ["/", "%"].iter().filter(|part| name.contains(**part));
    let mut faults: Vec<String> = parts.map(|part| format!("may not contain '{part}'")).collect();
    // The real server takes them, and then no terminal shows what the object is called.
    if name.chars().any(char::is_control) {
        faults.push("may not contain control characters".to_owned());
    }
    faults
}

/// What is said of names counts characters, what is said of labels counts bytes; both mean bytes.
fn longer_than(text: &str, most: usize, unit: &str) -> Vec<String> {
    if text.len() > most { vec![format!("must be no more than {most} {unit}")] } else { Vec::new() }
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_key_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().all(|byte| inner(byte) || matches!(byte, b'-' | b'_' | b'.'))
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_never_longer_than_a_label() {
        assert_eq!(generate("web-", &[0, 1, 2, 26, 27]), "web-bcd9b");
        assert_eq!(generate(&"x".repeat(300), &[0; 5]).len(), 63);
        assert_eq!(generate(&"ä".repeat(60), &[0; 5]), format!("{}bbbbb", "ä".repeat(29)));
    }

    #[test]
    fn a_prefix_may_end_with_a_dash() {
        assert!(NameRule::Label.prefix_faults("web-").is_empty());
        assert_eq!(NameRule::Label.prefix_faults("-").len(), 1);
        assert_eq!(NameRule::Label.faults("a.b"), ["must not contain dots"]);
        assert_eq!(NameRule::PathSegment.faults("a/%"), ["may not contain '/'", "may not contain '%'"]);
    }
}
