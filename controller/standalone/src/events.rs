//! An event has two faces, `v1` and `events.k8s.io/v1`, with the same facts under other names. It is stored as the first.

use serde_json::{Value, json};

use crate::object;

/// Names in `v1` and in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// From `events.k8s.io/v1` to what is stored.
pub fn to_stored(event: &mut Value) {
    rename(event, NAMES.into_iter().map(|(core, face)| (face, core)));
    let fields = object::fields(event);
    fields.insert("apiVersion".to_owned(), "v1".into());
    for field in ["involvedObject", "source"] {
        fields.entry(field).or_insert_with(|| json!({}));
    }
    for field in ["reportingComponent", "reportingInstance"] {
        fields.entry(field).or_insert_with(|| "".into());
    }
}

/// From what is stored to `events.k8s.io/v1`.
pub fn from_stored(event: &mut Value) {
    rename(event, NAMES.into_iter());
    let fields = object::fields(event);
    fields.insert("apiVersion".to_owned(), "events.k8s.io/v1".into());
    // `v1` always says who reports, `events.k8s.io/v1` only if there is somebody.
    for field in ["reportingController", "reportingInstance"] {
        if fields.get(field).is_some_and(|reporter| reporter == "") {
            fields.remove(field);
        }
    }
}

fn rename(event: &mut Value, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let fields = object::fields(event);
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        let face = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"}, "note": "n", "reason": "R",
            "regarding": {"name": "app"}, "reportingController": "c", "deprecatedCount": 3, "deprecatedSource": {},
        });
        let mut stored = face.clone();
        to_stored(&mut stored);
        assert_eq!(stored["message"], "n");
        assert_eq!(stored["involvedObject"]["name"], "app");
        assert_eq!((stored["apiVersion"].as_str(), stored["count"].as_i64()), (Some("v1"), Some(3)));
        assert_eq!(stored["reportingInstance"], "");
        from_stored(&mut stored);
        assert_eq!(stored, face);
    }
}
