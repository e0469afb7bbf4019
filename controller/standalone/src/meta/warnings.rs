//! What is taken, but not gladly.

use std::collections::HashSet;

use serde_json::Value;

use super::{Meta, cause::quote};
use crate::builtin_rules::is_standard_finalizer;
use crate::object;

/// Drops owner references that are there already. The warning tells whose they are; `late` if nobody sent them so, but a change to
/// the stored object has led to it.
pub fn drop_repeated_owners(object: &mut Value, late: bool) -> Option<String> {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut)?;
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut dropped = Vec::new();
    let mut known = HashSet::new();
    for owner in owners.drain(..) {
        if !known.insert(owner.to_string()) {
            dropped.push(owner.get("uid").and_then(Value::as_str).unwrap_or_default().to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    let when = if late { " after mutating admission happens" } else { "" };
    (!dropped.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject \
             such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            dropped.join(", ")
        )
    })
}

/// New finalizers of a custom object that two writers could mean differently.
pub fn finalizers(object: &Value, old: Option<&Value>) -> Vec<String> {
    let known: HashSet<&str> = old.map(object::finalizers).unwrap_or_default().into_iter().collect();
    let mut new = Meta::of(object).strings("finalizers");
    new.retain(|one| !known.contains(one) && !one.contains('/') && !is_standard_finalizer(one));
    new.sort_unstable();
    new.dedup();
    let warn = |one: &str| {
        let path = if one.contains('.') { " including a path (/)" } else { "" };
        let advice = format!("prefer a domain-qualified finalizer name{path}");
        format!(
            "metadata.finalizers: {}: {advice} to avoid accidental conflicts with other finalizer writers",
            quote(one)
        )
    };
    new.into_iter().map(warn).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_owner_is_kept_once() {
        let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": uid});
        let mut object =
            json!({"metadata": {"ownerReferences": [owner("1"), owner("2"), owner("1"), owner("1")]}});
        let warning = drop_repeated_owners(&mut object, false).expect("a warning");
        assert!(warning.ends_with("observed: 1, 1"), "{warning}");
        assert_eq!(object["metadata"]["ownerReferences"], json!([owner("1"), owner("2")]));
        assert_eq!(drop_repeated_owners(&mut object, false), None);
    }

    #[test]
    fn only_new_finalizers_without_a_domain_are_warned_of() {
        let object =
            json!({"metadata": {"finalizers": ["orphan", "example.com/x", "old", "hold", "example.com"]}});
        let old = json!({"metadata": {"finalizers": ["old"]}});
        let warnings = finalizers(&object, Some(&old));
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with(
            "metadata.finalizers: \"example.com\": prefer a domain-qualified finalizer name including"
        ));
        assert!(
            warnings[1].starts_with(
                "metadata.finalizers: \"hold\": prefer a domain-qualified finalizer name to avoid"
            )
        );
        assert_eq!(finalizers(&object, None).len(), 3);
    }
}
