//! What `kubectl apply` without `--server-side` left behind, which an apply of the manager `kubectl` takes over and keeps up.

use serde_json::{Value, json};

use super::check::misfits;
use super::collect::fields_of;
use super::compare::compare;
use super::go;
use super::set::FieldSet;
use super::update::Rules;

/// The manager of kubectl's server-side apply.
pub(super) const KUBECTL: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All annotations of an object, names and values, in bytes: the API's bound.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The fields that client-side apply set and nobody changed since: the same user's, under another name. None: it set none, or
/// what it left cannot be read.
pub(super) fn fields(rules: Rules<'_>, live: &Value) -> Option<FieldSet> {
    let text = annotation(live)?;
    let applied: Value = serde_json::from_str(text).ok()?;
    if applied.get("apiVersion").and_then(Value::as_str) != Some(rules.api_version)
        || misfits(rules.shape, live).is_some()
        || misfits(rules.shape, &applied).is_some()
    {
        return None;
    }
    let mut fields = fields_of(rules.shape, &applied);
    let compared = compare(rules.shape, &applied, live);
    fields.subtract(&compared.modified);
    fields.subtract(&compared.added);
    fields.subtract(&compared.removed);
    Some(fields)
}

/// Writes what is applied where client-side apply would look for it, if it has ever looked there.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(annotations) = annotations_mut(&mut applied) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = annotations_mut(object) else { return };
    annotations.insert(ANNOTATION.to_owned(), json!(go::json(&applied) + "\n"));
    let size = annotations.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    if size.sum::<usize>() > MAX_ANNOTATIONS {
        annotations.remove(ANNOTATION);
    }
}

fn annotation(object: &Value) -> Option<&str> {
    let text = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

fn annotations_mut(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()
}
