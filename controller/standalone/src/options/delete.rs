//! Options of a delete, from the body when there is one, else from the query.

use serde_json::{Map, Value};

use crate::decode::go_kind;
use crate::meta::cause::{invalid_text, not_supported, quote};
use crate::status::{ApiError, Cause};

use super::{Query, dry_run_faults, refuse};

/// Options of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delete {
    pub dry_run: bool,
    pub grace_period_seconds: Option<i64>,
    /// What happens to the objects that this one owns. None: what the kind does by default.
    pub propagation: Option<Propagation>,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must have this resourceVersion.
    pub resource_version: Option<String>,
}

/// `propagationPolicy`, or what the deprecated `orphanDependents` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Foreground,
    Background,
    Orphan,
}

/// Before it is checked.
#[derive(Default)]
struct Raw {
    dry_run: Vec<String>,
    grace_period_seconds: Option<i64>,
    propagation: Option<String>,
    orphan: Option<bool>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Delete {
    /// Reads the options; the query is looked at only if the body is empty.
    pub fn parse(query: &str, body: &[u8]) -> Result<Self, ApiError> {
        let raw = if body.is_empty() { Raw::from_query(query)? } else { Raw::from_body(body)? };
        refuse("DeleteOptions", raw.faults())?;
        let propagation = match (raw.propagation.as_deref(), raw.orphan) {
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some(_) | None, _) => None,
        };
        Ok(Self {
            dry_run: !raw.dry_run.is_empty(),
            grace_period_seconds: raw.grace_period_seconds,
            propagation,
            uid: raw.uid,
            resource_version: raw.resource_version,
        })
    }
}

impl Raw {
    fn from_query(query: &str) -> Result<Self, ApiError> {
        let query = Query::read(query);
        let text = |name: &str| query.first(name).filter(|value| !value.is_empty()).map(str::to_owned);
        Ok(Self {
            dry_run: query.all("dryRun"),
            grace_period_seconds: query.integer("gracePeriodSeconds")?,
            propagation: query.first("propagationPolicy").map(str::to_owned),
            orphan: query.flag("orphanDependents"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        })
    }

    fn from_body(body: &[u8]) -> Result<Self, ApiError> {
        let unreadable = |fault: String| {
            ApiError::bad_request(format!("couldn't get version/kind; json parse error: {fault}"))
        };
        let value: Value = serde_json::from_slice(body).map_err(|fault| {
            unreadable(if fault.is_eof() {
                "unexpected end of JSON input".to_owned()
            } else {
                fault.to_string()
            })
        })?;
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                let kind = go_kind(&other);
                let shape = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
                return Err(unreadable(format!(
                    "json: cannot unmarshal {kind} into Go value of type {shape}"
                )));
            }
        };
        for name in ["kind", "apiVersion"] {
            if let Some(other) = fields.get(name).filter(|value| !value.is_string() && !value.is_null()) {
                let kind = go_kind(other);
                let fault =
                    format!("json: cannot unmarshal {kind} into Go struct field .{name} of type string");
                return Err(unreadable(fault));
            }
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "" | "DeleteOptions" => Self::from_fields(&fields),
            "Status" => {
                Err(ApiError::bad_request("converting (v1.Status) to (v1.DeleteOptions): unknown conversion"))
            }
            other => {
                let version = Some(text("apiVersion")).filter(|version| !version.is_empty()).unwrap_or("v1");
                let text = format!("no kind {} is registered for version {}", quote(other), quote(version));
                Err(ApiError::bad_request(format!("{text} in scheme \"pkg/runtime/scheme.go:111\"")))
            }
        }
    }

    fn from_fields(fields: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut raw = Self::default();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let misfit = |wanted: &str| misfit(value, name, wanted);
            match name.as_str() {
                "dryRun" => {
                    let items = value.as_array().ok_or_else(|| misfit("[]string"))?;
                    for item in items {
                        let text = item.as_str().ok_or_else(|| self::misfit(item, name, "string"))?;
                        raw.dry_run.push(text.to_owned());
                    }
                }
                "gracePeriodSeconds" => {
                    raw.grace_period_seconds = Some(value.as_i64().ok_or_else(|| misfit("int64"))?);
                }
                "propagationPolicy" => {
                    let text = value.as_str().ok_or_else(|| misfit("v1.DeletionPropagation"))?;
                    raw.propagation = Some(text.to_owned());
                }
                "orphanDependents" => raw.orphan = Some(value.as_bool().ok_or_else(|| misfit("bool"))?),
                "preconditions" => {
                    let conditions = value.as_object().ok_or_else(|| misfit("v1.Preconditions"))?;
                    let text = |own: &str, wanted: &str| match conditions.get(own) {
                        None | Some(Value::Null) => Ok(None),
                        Some(Value::String(text)) => Ok(Some(text.clone())),
                        Some(other) => Err(self::misfit(other, &format!("preconditions.{own}"), wanted)),
                    };
                    raw.uid = text("uid", "types.UID")?;
                    raw.resource_version = text("resourceVersion", "string")?;
                }
                _ => {}
            }
        }
        Ok(raw)
    }

    fn faults(&self) -> Vec<Cause> {
        const FIELD: &str = "propagationPolicy";
        let mut causes = Vec::new();
        if let Some(policy) = &self.propagation {
            if self.orphan.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                causes.push(invalid_text(FIELD, policy, detail));
            }
            if !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan") {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                causes.push(not_supported(FIELD, quote(policy), &known));
            }
        }
        causes.extend(dry_run_faults(&self.dry_run));
        causes
    }
}

fn misfit(value: &Value, field: &str, wanted: &str) -> ApiError {
    let found = match value.as_number() {
        // The decoder names a number only when a number was wanted.
        Some(number) if wanted == "int64" => format!("number {number}"),
        _ => go_kind(value).to_owned(),
    };
    ApiError::bad_request(format!(
        "json: cannot unmarshal {found} into Go struct field DeleteOptions.{field} of type {wanted}"
    ))
}
