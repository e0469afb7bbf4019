//! CertificateSigningRequest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{list, pem, text};
use crate::access::Identity;
use crate::clock::now;
use crate::meta::cause::{
    duplicate, forbidden, invalid, invalid_text, not_supported, quote, required, too_long,
};
use crate::meta::names::{self, MAX_LABEL, MAX_SUBDOMAIN};
use crate::object;
use crate::status::Cause;

/// What a certificate may be used for, in alphabetical order, as the refusal lists them.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that stay once they are there.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
/// Of these, the ones that are written through the subresource `approval`.
const APPROVALS: [&str; 2] = ["Approved", "Denied"];
const CERTIFICATE: &str = "/status/certificate";
const MIN_EXPIRATION: i64 = 600;

/// A new request has no status; a written one keeps its spec and status, which only the subresources change.
pub fn prepare(object: &mut Value, old: Option<&Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    match old {
        None => drop(fields.insert("status".to_owned(), json!({}))),
        Some(old) => {
            for field in ["spec", "status"] {
                object::put(fields, field, old.get(field).cloned());
            }
        }
    }
}

/// Who asks for a certificate is not for the request to say.
pub fn requested_by(object: &mut Value, creator: &Identity) {
    let spec = object::fields(object::fields(object).entry("spec").or_insert(Value::Null));
    spec.insert("username".to_owned(), creator.name.as_str().into());
    spec.insert("groups".to_owned(), creator.groups.clone().into());
    spec.remove("uid");
    spec.remove("extra");
}

/// Approval is about the conditions alone, and `status` cannot change what approval has said. Conditions get the times that they
/// leave out.
pub fn prepare_part(subresource: &str, object: &mut Value, old: &Value) {
    let mut conditions = object.pointer_mut("/status/conditions").map(Value::take);
    let stated = conditions.as_mut().and_then(Value::as_array_mut);
    for condition in stated.into_iter().flatten().filter(|condition| condition.is_object()) {
        let before =
            list(old, "/status/conditions").iter().find(|one| text(one, "/type") == text(condition, "/type"));
        match before {
            Some(before) if subresource == "status" && APPROVALS.contains(&text(condition, "/type")) => {
                *condition = before.clone()
            }
            _ => stamp(condition, before),
        }
    }
    let fields = object::fields(object);
    object::put(fields, "spec", old.get("spec").cloned());
    let status = fields.entry("status").or_insert(Value::Null);
    if subresource == "approval" {
        *status = old.get("status").cloned().unwrap_or_else(|| json!({}));
    }
    object::put(object::fields(status), "conditions", conditions);
}

fn stamp(condition: &mut Value, before: Option<&Value>) {
    let before = before.filter(|before| text(before, "/status") == text(condition, "/status"));
    let since = before.map(|before| text(before, "/lastTransitionTime")).filter(|time| !time.is_empty());
    let since = since.map_or_else(now, str::to_owned);
    for (field, time) in [("lastUpdateTime", now()), ("lastTransitionTime", since)] {
        if text(condition, &format!("/{field}")).is_empty() {
            object::fields(condition).insert(field.to_owned(), time.into());
        }
    }
}

pub fn validate(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::from_iter(request(object));
    causes.extend(usages(object));
    let signer = text(object, "/spec/signerName");
    if signer == "kubernetes.io/legacy-unknown" {
        let detail = "the legacy signerName is not allowed via this API version";
        causes.push(invalid_text("spec.signerName", signer, detail));
    } else {
        causes.extend(signer_name(signer));
    }
    let expiration = object.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    if let Some(seconds) = expiration.filter(|seconds| *seconds < MIN_EXPIRATION) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        causes.push(invalid("spec.expirationSeconds", &seconds.into(), detail));
    }
    causes.extend(conditions(object));
    causes.extend(certificate(object, old));
    let Some(old) = old else { return causes };
    for kind in FINAL {
        if count(object, kind) < count(old, kind) {
            let detail = format!("updates may not remove a condition of type {}", quote(kind));
            causes.push(forbidden("status.conditions", detail));
        }
    }
    causes
}

/// Whether a request is approved or denied is written through the subresource `approval` alone, and its certificate once.
pub fn status_change(object: &Value, old: &Value) -> Vec<Cause> {
    let added = APPROVALS.into_iter().filter(|kind| count(object, kind) > count(old, kind));
    let detail = |kind: &str| format!("updates may not add a condition of type {}", quote(kind));
    let mut causes: Vec<Cause> = added.map(|kind| forbidden("status.conditions", detail(kind))).collect();
    let (issued, before) = (text(object, CERTIFICATE), text(old, CERTIFICATE));
    if issued != before && !before.is_empty() {
        causes.push(forbidden("status.certificate", "updates may not modify existing certificate content"));
    }
    causes
}

fn request(object: &Value) -> Option<Cause> {
    let given = object.pointer("/spec/request").unwrap_or(&Value::Null);
    let fault = pem::request_fault(&decoded(given.as_str().unwrap_or_default()))?;
    Some(invalid("spec.request", given, fault))
}

/// One that was bad before stays.
fn certificate(object: &Value, old: Option<&Value>) -> Option<Cause> {
    let issued = text(object, CERTIFICATE);
    let before = old.map(|old| text(old, CERTIFICATE)).unwrap_or_default();
    if issued.is_empty() || issued == before {
        return None;
    }
    let fault = pem::certificates_fault(&decoded(issued))?;
    Some(invalid_text("status.certificate", "<certificate data>", fault))
}

/// Bytes as they stand in JSON, which have been found to be base64.
fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text.replace(['\n', '\r'], "")).unwrap_or_default()
}

/// How many conditions there are of a type.
fn count(object: &Value, kind: &str) -> usize {
    list(object, "/status/conditions").iter().filter(|one| text(one, "/type") == kind).count()
}

fn usages(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let usages: Vec<&str> = list(object, "/spec/usages").iter().filter_map(Value::as_str).collect();
    if usages.is_empty() {
        causes.push(required("spec.usages", ""));
    }
    for (index, usage) in usages.iter().enumerate().filter(|(_, usage)| !USAGES.contains(usage)) {
        causes.push(not_supported(format!("spec.usages[{index}]"), quote(usage), &USAGES));
    }
    for (index, usage) in usages.iter().enumerate() {
        if usages.iter().take(index).any(|before| before == usage) {
            causes.push(duplicate(format!("spec.usages[{index}]"), usage));
        }
    }
    causes
}

fn signer_name(signer: &str) -> Vec<Cause> {
    const FIELD: &str = "spec.signerName";
    if signer.is_empty() {
        return vec![required(FIELD, "")];
    }
    let parts: Vec<&str> = signer.split('/').collect();
    let [domain, path] = parts.as_slice() else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![invalid_text(FIELD, signer, detail)];
    };
    let mut causes = Vec::new();
    if domain.len() > MAX_SUBDOMAIN {
        causes.push(too_long(FIELD, MAX_SUBDOMAIN));
    }
    causes.extend(first_fault(domain, names::label));
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        causes.push(invalid_text(FIELD, domain, detail));
    }
    causes.extend(first_fault(path, names::subdomain));
    // Room for a label, a dot and a subdomain behind the slash.
    let most = MAX_SUBDOMAIN + 1 + MAX_LABEL + 1 + MAX_SUBDOMAIN;
    if signer.len() > most {
        causes.push(too_long(FIELD, most));
    }
    causes
}

/// The faults of the first part between dots that has any.
fn first_fault(text: &str, rule: fn(&str) -> Vec<String>) -> Vec<Cause> {
    let mut parts = text.split('.').map(|part| (part, rule(part)));
    let Some((part, faults)) = parts.find(|(_, faults)| !faults.is_empty()) else { return Vec::new() };
    let detail = |fault: String| format!("validating label {}: {fault}", quote(part));
    faults.into_iter().map(|fault| invalid_text("spec.signerName", text, detail(fault))).collect()
}

fn conditions(object: &Value) -> Vec<Cause> {
    const FIELD: &str = "status.conditions";
    let mut causes = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, condition) in list(object, "/status/conditions").iter().enumerate() {
        let kind = text(condition, "/type");
        if kind.is_empty() {
            causes.push(required(format!("{FIELD}[{index}].type"), ""));
        }
        let known: &[&str] = if FINAL.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        match text(condition, "/status") {
            "" => causes.push(required(format!("{FIELD}[{index}].status"), "")),
            status if !known.contains(&status) => {
                causes.push(not_supported(format!("{FIELD}[{index}].status"), quote(status), known));
            }
            _ => {}
        }
        let other = match kind {
            "Approved" => Some("Denied"),
            "Denied" => Some("Approved"),
            _ => None,
        };
        if other.is_some_and(|other| seen.contains(&other)) {
            let [approved, denied] =
                ["Approved", "Denied"].map(|kind| format!("conditions[{{\"type\": \"{kind}\"}}]"));
            let detail = format!("must specify at most one of: `{approved}`, `{denied}`");
            causes.push(invalid_text(FIELD, &format!("{{{approved}, {denied}}}"), detail));
        }
        if seen.contains(&kind) {
            causes.push(duplicate(format!("{FIELD}[{index}].type"), kind));
        }
        seen.push(kind);
    }
    causes
}
