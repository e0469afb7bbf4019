//! An answer, and the form of it that two servers can be compared by: what must differ (uids, times, revisions) is renamed in the order of
//! its first appearance, so that equal stays equal and changed stays changed.

use std::collections::HashMap;

use anyhow::Result;
use http::Response;
use kube::client::Body;
use serde_json::{Map, Value, json};

use crate::script::Step;

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    content_type: String,
    warnings: Vec<String>,
    /// JSON; a list of events for a watch; a string when it is neither.
    pub body: Value,
}

/// The names given so far to what differs, on one server in one scenario.
#[derive(Debug, Default)]
pub struct Names {
    uids: HashMap<String, usize>,
    revisions: HashMap<String, usize>,
}

impl Names {
    fn uid(&mut self, uid: &str) -> String {
        let next = self.uids.len();
        format!("<uid {}>", self.uids.entry(uid.to_owned()).or_insert(next))
    }

    fn revision(&mut self, revision: &str) -> String {
        let next = self.revisions.len();
        format!("<rv {}>", self.revisions.entry(revision.to_owned()).or_insert(next))
    }
}

impl Answer {
    pub async fn read(response: Response<Body>) -> Result<Self> {
        let status = response.status().as_u16();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let content_type = response.headers().get("content-type").map(text).unwrap_or_default();
        let mut warnings: Vec<String> = response.headers().get_all("warning").iter().map(text).collect();
        warnings.sort();
        let bytes = response.into_body().collect_bytes().await?;
        let text = String::from_utf8_lossy(&bytes);
        let documents: Vec<Value> = serde_json::Deserializer::from_str(&text)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let is_event = |value: &Value| value.get("type").is_some() && value.get("object").is_some();
        let body = match documents.as_slice() {
            [] => Value::String(text.into_owned()),
            [one] if !is_event(one) => one.clone(),
            _ => Value::Array(documents),
        };
        Ok(Self { status, content_type, warnings, body })
    }

    /// The form to compare.
    pub fn comparable(mut self, step: &Step, names: &mut Names) -> Value {
        if let Some(pointer) = &step.only {
            self.body = find(&self.body, pointer).cloned().unwrap_or(Value::Null);
        }
        for pointer in &step.ignore {
            if let Some(found) = find_mut(&mut self.body, pointer) {
                *found = "<ignored>".into();
            }
        }
        if let Value::Array(events) = &mut self.body {
            // When a bookmark comes is the server's own choice, except the one after the initial events.
            events.retain(|event| {
                event["type"] != "BOOKMARK"
                    || !event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"].is_null()
            });
        }
        if self.body["kind"] == "APIResourceList"
            && let Value::Array(kinds) = &mut self.body["resources"]
        {
            // The real server lists custom kinds in no fixed order.
            kinds.sort_by_key(|kind| kind["name"].to_string());
        }
        normalise(&mut self.body, names);
        let warnings: Vec<Value> = self.warnings.into_iter().map(Value::String).collect();
        json!({"status": self.status, "contentType": self.content_type, "warnings": warnings, "body": self.body})
    }
}

/// The part of a value that a pointer leads to. A segment `[key=value]` picks from a list of objects.
pub fn find<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    segments(pointer).iter().try_fold(value, |value, segment| match pick(segment) {
        Some((key, wanted)) => value.as_array()?.iter().find(|item| item[key] == *wanted),
        None => value.pointer(&format!("/{segment}")),
    })
}

fn find_mut<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    segments(pointer).iter().try_fold(value, |value, segment| match pick(segment) {
        Some((key, wanted)) => value.as_array_mut()?.iter_mut().find(|item| item[key] == *wanted),
        None => value.pointer_mut(&format!("/{segment}")),
    })
}

fn segments(pointer: &str) -> Vec<&str> {
    pointer.split('/').skip(1).collect()
}

fn pick(segment: &str) -> Option<(&str, &str)> {
    segment.strip_prefix('[')?.strip_suffix(']')?.split_once('=')
}

fn normalise(value: &mut Value, names: &mut Names) {
    match value {
        Value::String(text) => *text = without_uids(text, names),
        Value::Array(items) => items.iter_mut().for_each(|item| normalise(item, names)),
        Value::Object(map) => object(map, names),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn object(map: &mut Map<String, Value>, names: &mut Names) {
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_list = map.contains_key("items") || map.contains_key("rows");
    let is_bookmark = is_bookmark(map);
    if kind == "Status" {
        status(map);
    }
    if kind == "Table" {
        table(map);
    }
    // Of conditions: whether two steps are in one second is chance.
    for key in ["lastTransitionTime", "lastUpdateTime"] {
        map.entry(key).and_modify(time);
    }
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        // How far a list or a bookmark is depends on what else happens on that server.
        self::metadata(metadata, names, is_list || is_bookmark);
    }
    for child in map.values_mut() {
        normalise(child, names);
    }
}

fn is_bookmark(map: &Map<String, Value>) -> bool {
    let annotation =
        map.get("metadata").map(|metadata| &metadata["annotations"]["k8s.io/initial-events-end"]);
    annotation.is_some_and(|annotation| !annotation.is_null())
}

fn metadata(metadata: &mut Map<String, Value>, names: &mut Names, moving: bool) {
    for key in ["creationTimestamp", "deletionTimestamp"] {
        metadata.entry(key).and_modify(time);
    }
    if let Some(Value::String(revision)) = metadata.get_mut("resourceVersion")
        && !revision.is_empty()
        && revision != "0"
    {
        *revision = if moving { "<rv>".into() } else { names.revision(revision) };
    }
    if let Some(Value::String(token)) = metadata.get_mut("continue")
        && !token.is_empty()
    {
        *token = "<continue>".into();
    }
    if let Some(Value::Array(managers)) = metadata.get_mut("managedFields") {
        for manager in managers.iter_mut() {
            if let Some(Value::String(_)) = manager.get("time") {
                time(&mut manager["time"]);
            }
        }
        // The server sorts by time among other things, and whether two steps are in one second is chance.
        managers.sort_by_key(|manager| {
            ["operation", "manager", "apiVersion", "subresource"].map(|key| manager[key].to_string())
        });
    }
    let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(Value::String(name)) = metadata.get_mut("name")
        && !prefix.is_empty()
        && let Some(suffix) = name.strip_prefix(&prefix)
        && suffix.len() == 5
        && suffix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    {
        *name = format!("{prefix}<random>");
    }
}

/// Only what has the shape of a time of the API: whole seconds, in UTC.
fn time(value: &mut Value) {
    let shape =
        |text: &str| -> String { text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect() };
    if let Value::String(text) = value
        && shape(text) == "0000-00-00T00:00:00Z"
    {
        *text = "<time>".into();
    }
}

/// The real server collects several errors of a schema in the order of a Go map.
fn status(map: &mut Map<String, Value>) {
    if let Some(Value::Array(causes)) = map.get_mut("details").and_then(|details| details.get_mut("causes")) {
        for cause in causes.iter_mut() {
            if let Some(Value::String(message)) = cause.get_mut("message") {
                *message = without_object(message);
            }
        }
        causes.sort_by_key(Value::to_string);
    }
    let Some(Value::String(message)) = map.get_mut("message") else { return };
    *message = without_object(message);
    if let Some((head, tail)) = message.split_once(": [")
        && let Some(list) = tail.strip_suffix(']')
        && head.ends_with("is invalid")
    {
        let mut parts = errors(list);
        parts.sort_unstable();
        *message = format!("{head}: [{}]", parts.join(", "));
    }
    let places = [
        "ResourceVersion in object meta: ",
        "in the precondition (",
        "in record (",
        "current: ",
        "resource version: 1 (",
    ];
    for before in places {
        *message = without_number(message, before);
    }
}

/// The errors of a list that is joined by commas, which the errors have too: each begins with a field and the kind of error.
fn errors(list: &str) -> Vec<String> {
    const KINDS: [&str; 8] = [
        "Invalid value",
        "Required value",
        "Unsupported value",
        "Duplicate value",
        "Forbidden",
        "Too long",
        "Too many",
        "Internal error",
    ];
    let begins = |part: &str| {
        let kind = part.split_once(": ").map(|(field, kind)| (field.contains(' '), kind));
        kind.is_some_and(|(prose, kind)| !prose && KINDS.iter().any(|known| kind.starts_with(known)))
    };
    let mut found: Vec<String> = Vec::new();
    for part in list.split(", ") {
        match found.last_mut() {
            Some(last) if !begins(part) => {
                last.push_str(", ");
                last.push_str(part);
            }
            _ => found.push(part.to_owned()),
        }
    }
    found
}

/// An error that quotes the whole object, its times and revisions included, without it.
fn without_object(message: &str) -> String {
    let quotes = [("Invalid value: \"{", "}\": "), ("is missing in '{", "}'")];
    quotes.iter().fold(message.to_owned(), |message, (before, after)| {
        match message.split_once(before).and_then(|(head, tail)| Some((head, tail.rsplit_once(after)?.1))) {
            Some((head, why)) => format!("{head}{before}<object>{after}{why}"),
            None => message,
        }
    })
}

/// Names the number that stands right after `before`.
fn without_number(message: &str, before: &str) -> String {
    let Some((head, tail)) = message.split_once(before) else { return message.to_owned() };
    let rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    let whole = rest.len() < tail.len() && !rest.starts_with(|c: char| c == '-' || c.is_alphanumeric());
    if whole { format!("{head}{before}<number>{rest}") } else { message.to_owned() }
}

/// The age of an object in a table for people.
fn table(map: &mut Map<String, Value>) {
    let columns = map.get("columnDefinitions").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Array(rows)) = map.get_mut("rows") else { return };
    for row in rows {
        let Some(Value::Array(cells)) = row.get_mut("cells") else { continue };
        for (at, cell) in cells.iter_mut().enumerate() {
            let ages = ["Age", "Last Seen", "First Seen"];
            // A watch names its columns once, with its first event.
            let column = columns.get(at).map(|column| &column["name"]);
            let is_age = column.is_none_or(|column| ages.iter().any(|name| *column == *name));
            if let Value::String(text) = cell
                && is_age
                && text.ends_with('s')
                && text.starts_with(|c: char| c.is_ascii_digit())
            {
                *text = "<age>".into();
            }
        }
    }
}

/// Names every uid in a text.
fn without_uids(text: &str, names: &mut Names) -> String {
    const LENGTH: usize = 36;
    let is_uid = |candidate: &str| {
        candidate
            .char_indices()
            .all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() })
    };
    let mut result = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(candidate) = rest.get(..LENGTH)
            && is_uid(candidate)
        {
            result.push_str(&names.uid(candidate));
            rest = &rest[LENGTH..];
        } else {
            let step = rest.chars().next().map_or(1, char::len_utf8);
            result.push_str(&rest[..step]);
            rest = &rest[step..];
        }
    }
    result
}
