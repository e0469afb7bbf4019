//! What nobody else may see, taken out of texts. Two ways, and each alone is thought to be enough: documents keep only what is listed here by name,
//! and from every text the values of all Secrets that the box has are cut out, wherever they have got to.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use skerry_proto::wire;

/// What stands in place of a value.
pub(super) const NOT_SHOWN: &str = "(not shown)";
/// A line of a Secret that is shorter is in other texts by chance.
const LINE_MIN: usize = 8;
/// Words after which a value stands that is nobody's business.
const TELLING: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "authorization", "api-key"];

/// A shorter value is in every other text by chance.
const VALUE_MIN: usize = 4;
/// Lines of one value that are looked for by themselves: enough for a key or a chain of certificates.
const LINES_MAX: usize = 400;

/// The values of Secrets.
pub(super) struct Hidden {
    /// All forms of them by how they begin, the longest first: a box may have thousands, and a text is gone through once.
    forms: HashMap<[u8; VALUE_MIN], Vec<String>>,
    /// All of the box's are known. Otherwise nothing may be passed on that could hold one.
    pub complete: bool,
}

impl Hidden {
    pub fn new(objects: &[wire::ConfigObject], complete: bool) -> Self {
        let secret = |object: &&wire::ConfigObject| object.kind() == wire::ConfigKind::Secret;
        let values = objects.iter().filter(secret).flat_map(|object| {
            let wire::ConfigObject { data, binary_data, .. } = object;
            data.values().chain(binary_data.values())
        });
        let mut texts = BTreeSet::new();
        values.for_each(|value| self::forms(value, &mut texts));
        let mut forms: HashMap<_, Vec<String>> = HashMap::new();
        for text in texts {
            if let Some(begin) = text.as_bytes().first_chunk::<VALUE_MIN>() {
                forms.entry(*begin).or_default().push(text);
            }
        }
        // One may be the beginning of another.
        forms.values_mut().for_each(|texts| texts.sort_by_key(|text| std::cmp::Reverse(text.len())));
        Self { forms, complete }
    }

    /// A text without Secrets, and without what looks like one.
    pub fn text(&self, text: &str) -> String {
        let text = self.without_values(text);
        text.split_inclusive('\n').map(|line| without_assignments(&without_users(line))).collect()
    }

    fn without_values(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let (mut copied, mut at) = (0, 0);
        while let Some(begin) = text.as_bytes()[at..].first_chunk::<VALUE_MIN>() {
            let forms = self.forms.get(begin).map_or(&[][..], Vec::as_slice);
            match forms.iter().find(|form| text.as_bytes()[at..].starts_with(form.as_bytes())) {
                Some(form) => {
                    shown += &text[copied..at];
                    shown += "***";
                    at += form.len();
                    copied = at;
                }
                None => at += 1,
            }
        }
        shown + &text[copied..]
    }

    /// The same for every text of a document.
    pub fn document(&self, document: Value) -> Value {
        match document {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.document(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (self.without_values(&key), self.document(value)))
                .collect(),
            same @ (Value::Null | Value::Bool(_) | Value::Number(_)) => same,
        }
    }
}

/// The forms in which a value may turn up: as it is, quoted, line by line, the texts of a document, and in base64.
fn forms(value: &[u8], texts: &mut BTreeSet<String>) {
    let mut add = |bytes: &[u8]| {
        let engines = [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD];
        texts.extend(engines.map(|engine| engine.encode(bytes)));
        if let Ok(text) = std::str::from_utf8(bytes) {
            texts.extend([text.to_owned(), text.escape_debug().to_string()]);
        }
    };
    add(value);
    let Ok(text) = std::str::from_utf8(value) else { return };
    let trimmed = text.trim();
    add(trimmed.as_bytes());
    if let Ok(document) = serde_json::from_str::<Value>(trimmed) {
        let mut leaves = Vec::new();
        collect(&document, &mut leaves);
        for leaf in leaves.into_iter().take(LINES_MAX) {
            add(leaf.as_bytes());
            // `auth` of a pull secret is USER:PASSWORD in base64.
            let decoded = BASE64_STANDARD.decode(leaf).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some((_, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) {
                add(password.as_bytes());
            }
        }
    }
    let lines = trimmed.lines().map(str::trim).filter(|line| line.len() >= LINE_MIN);
    texts.extend(lines.take(LINES_MAX).map(str::to_owned));
}

fn collect<'a>(document: &'a Value, leaves: &mut Vec<&'a str>) {
    match document {
        Value::String(text) => leaves.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, leaves)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, leaves)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `http://user:password@proxy` without user and password.
fn without_users(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        text += before;
        text += "://";
        let end = after.find(|c: char| c.is_whitespace() || "/\"'<>".contains(c)).unwrap_or(after.len());
        let (authority, beyond) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => text += &format!("***@{host}"),
            None => text += authority,
        }
        rest = beyond;
    }
    text + rest
}

/// `password=hunter2` and `"token": "x"` without the value, `Authorization: Bearer x` without all that follows.
fn without_assignments(line: &str) -> String {
    // The same length in bytes: only ASCII changes.
    let lower = line.to_ascii_lowercase().replace('_', "-");
    let mut places: Vec<(usize, &str)> =
        TELLING.iter().flat_map(|word| lower.match_indices(word).map(|(at, _)| (at, *word))).collect();
    places.sort_unstable();
    let mut text = String::with_capacity(line.len());
    let mut copied = 0;
    for (at, word) in places {
        let after = line[at + word.len()..].trim_start_matches(['"', '\'', ' ']);
        let (true, Some(value)) = (at >= copied, after.strip_prefix(['=', ':'])) else { continue };
        let value = value.trim_start_matches([' ', '"', '\'']);
        let end = match word {
            "authorization" => value.trim_end().len(),
            _ => value.find(|c: char| c.is_whitespace() || "\"',;&".contains(c)).unwrap_or(value.len()),
        };
        if end > 0 {
            let begin = line.len() - value.len();
            text += &line[copied..begin];
            text += "***";
            copied = begin + end;
        }
    }
    text + &line[copied..]
}

/// True for a key of a configuration whose value is nobody's business.
pub(super) fn is_telling(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    TELLING.iter().any(|word| key.contains(word)) || key == "key" || key.ends_with("-key") || key == "auth"
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: &str = "m4rk3r-of-the-s3cret";

    fn hidden() -> Hidden {
        let docker = format!(
            r#"{{"auths": {{"r.example": {{"username": "keeper", "auth": "{}"}}}}}}"#,
            BASE64_STANDARD.encode(format!("keeper:{MARKER}-pull"))
        );
        let pem =
            format!("-----BEGIN KEY-----\n{MARKER}-first-line\n{MARKER}-second-line\n-----END KEY-----\n");
        let data = [
            ("token".to_owned(), MARKER.as_bytes().to_vec()),
            (".dockerconfigjson".to_owned(), docker.into_bytes()),
            ("pem".to_owned(), pem.into_bytes()),
            ("short".to_owned(), b"ab".to_vec()),
        ];
        let secret = wire::ConfigObject {
            kind: wire::ConfigKind::Secret.into(),
            data: data.into(),
            ..Default::default()
        };
        Hidden::new(&[secret], true)
    }

    #[test]
    fn a_secret_is_found_in_all_its_forms() {
        let hidden = hidden();
        let encoded = BASE64_STANDARD.encode(MARKER);
        for text in [
            format!("exec: \"{MARKER}\": not found"),
            format!("data: {encoded}"),
            encoded.trim_end_matches('=').to_owned(),
            BASE64_STANDARD.encode(format!("keeper:{MARKER}-pull")),
            format!("401 for {MARKER}-pull"),
            format!("bad line {MARKER}-second-line"),
        ] {
            let shown = hidden.text(&text);
            assert!(!shown.contains(MARKER) && shown.contains("***"), "{text}: {shown}");
            let document = hidden.document(serde_json::json!({"a": [{"b": text.clone()}], text.as_str(): 1}));
            assert!(
                !document.to_string().contains(MARKER) && !document.to_string().contains(&encoded),
                "{document}"
            );
        }
        assert_eq!(hidden.text("cab is able\n"), "cab is able\n", "too short to be looked for");
    }

    #[test]
    fn the_longest_value_is_taken_and_other_letters_are_kept() {
        let data = [("a", "hunter22"), ("b", "hunter22-long"), ("c", "grün")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into();
        let kind = wire::ConfigKind::Secret.into();
        let hidden = Hidden::new(&[wire::ConfigObject { kind, data, ..Default::default() }], true);
        assert_eq!(hidden.text("ähunter22-longß, hunter22 grüngr"), "ä***ß, *** ***gr");
        let map = wire::ConfigObject { kind: wire::ConfigKind::ConfigMap.into(), ..Default::default() };
        assert_eq!(Hidden::new(&[map], true).text("hunter22"), "hunter22");
    }

    #[test]
    fn what_looks_like_a_secret_goes_too() {
        let hidden = Hidden::new(&[], true);
        for (text, shown) in [
            ("proxy http://me:x@proxy:3128/a ok", "proxy http://***@proxy:3128/a ok"),
            ("https://r.example/v2/ http://a@b", "https://r.example/v2/ http://***@b"),
            ("mount -o user=a,password=hunter2,ro", "mount -o user=a,password=***,ro"),
            (r#"{"api_key": "x", "n": 1}"#, r#"{"api_key": "***", "n": 1}"#),
            ("Authorization: Bearer abc def\n", "Authorization: ***\n"),
            ("PASSWORD=a TOKEN=b", "PASSWORD=*** TOKEN=***"),
            ("secret \"keys\" not found", "secret \"keys\" not found"),
            ("token=", "token="),
        ] {
            assert_eq!(hidden.text(text), shown);
        }
    }
}
