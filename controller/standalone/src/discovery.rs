//! Discovery: what a client reads to learn which groups, versions and kinds there are. Pure functions over the served kinds, which
//! never change while the program runs; every answer is JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::resource::{Origin, Resource};

/// An aggregated document with the headers that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregated {
    pub body: String,
    /// Quoted, for `ETag` and the comparison with `If-None-Match` (304).
    pub etag: String,
    pub content_type: String,
}

/// `Vary` and `Cache-Control` of aggregated discovery. All other discovery has `no-cache, private`.
pub const AGGREGATED_HEADERS: [(&str, &str); 2] = [("vary", "Accept"), ("cache-control", "public")];

/// `/api`. `address` is what clients reach the server at, `host:port`.
pub fn api_versions(address: &str) -> Value {
    let addresses = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]);
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses})
}

/// `/apis`.
pub fn groups(resources: &[Resource]) -> Value {
    let groups: Vec<_> =
        named_groups(resources).into_iter().map(|group| described(resources, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`. None: no such group, which the real server answers with 404 and the text `404 page not found`.
pub fn group(resources: &[Resource], group: &str) -> Option<Value> {
    if !named_groups(resources).contains(&group) {
        return None;
    }
    let mut described = described(resources, group);
    described["kind"] = "APIGroup".into();
    described["apiVersion"] = "v1".into();
    Some(described)
}

/// `/api/v1` (an empty `group`) and `/apis/<group>/<version>`. None: no such version.
pub fn kinds(resources: &[Resource], group: &str, version: &str) -> Option<Value> {
    let mut listed = Vec::new();
    for resource in sorted(resources, group, version) {
        let mut kind = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs(),
        });
        add_names(resource, &mut kind);
        kind["storageVersionHash"] = storage_version_hash(resource).into();
        listed.push(kind);
        listed.extend(resource.subresources.iter().map(|subresource| {
            json!({
                "name": format!("{}/{subresource}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": resource.subresource_verbs(subresource),
            })
        }));
    }
    let first = resources.iter().find(|own| own.group == group && own.version == version)?;
    let mut list =
        json!({"kind": "APIResourceList", "groupVersion": first.api_version(), "resources": listed});
    // The core group's list has none in the real server.
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

/// Names the form in which objects are stored; the two faces of an event are stored as one.
fn storage_version_hash(resource: &Resource) -> String {
    let Resource { group, version, kind, .. } = resource;
    let group = if group == "events.k8s.io" { "" } else { group };
    let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
    BASE64_STANDARD.encode(digest.get(..8).unwrap_or_default())
}

/// `/api` in the aggregated form of `version` (`v2`, `v2beta1`).
pub fn aggregated_core(resources: &[Resource], version: &str) -> Aggregated {
    aggregated(vec![aggregated_group(resources, "")], version)
}

/// `/apis` in the aggregated form.
pub fn aggregated_groups(resources: &[Resource], version: &str) -> Aggregated {
    aggregated(
        named_groups(resources).into_iter().map(|group| aggregated_group(resources, group)).collect(),
        version,
    )
}

/// `/version`.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "emulationMajor": "1", "emulationMinor": "37",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
        "gitVersion": "v1.37.2+skerry", "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "", "platform": format!("linux/{}", architecture()),
    })
}

/// `/`: the paths that are served, sorted. `more` are those that the caller serves beside the API: `/healthz`, `/metrics`.
pub fn paths(resources: &[Resource], more: &[&str]) -> Value {
    let mut paths: Vec<String> = more.iter().map(|path| (*path).to_owned()).collect();
    paths.extend(
        ["/api", "/api/v1", "/apis", "/apis/", "/openapi/v3", "/openapi/v3/", "/version"].map(str::to_owned),
    );
    for group in named_groups(resources) {
        paths.push(format!("/apis/{group}"));
        paths
            .extend(versions(resources, group).into_iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// Go's name of the architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The groups that have a name, in the order of the kinds.
fn named_groups(resources: &[Resource]) -> Vec<&str> {
    distinct(resources.iter().map(|resource| resource.group.as_str()).filter(|group| !group.is_empty()))
}

fn versions<'a>(resources: &'a [Resource], group: &str) -> Vec<&'a str> {
    distinct(
        resources.iter().filter(|resource| resource.group == group).map(|resource| resource.version.as_str()),
    )
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The kinds of one version, sorted by their plural as the real server sorts them.
fn sorted<'a>(resources: &'a [Resource], group: &str, version: &str) -> Vec<&'a Resource> {
    let mut found: Vec<_> =
        resources.iter().filter(|own| own.group == group && own.version == version).collect();
    found.sort_by(|left, right| left.plural.cmp(&right.plural));
    found
}

fn described(resources: &[Resource], group: &str) -> Value {
    let version = |version: &str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let versions: Vec<_> = versions(resources, group).into_iter().map(version).collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

/// Short names and categories, which are left out when there are none.
fn add_names(resource: &Resource, kind: &mut Value) {
    for (field, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            kind[field] = json!(names);
        }
    }
}

fn aggregated(items: Vec<Value>, version: &str) -> Aggregated {
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    });
    let body = list.to_string();
    let etag = format!("\"{}\"", hash(body.as_bytes()));
    let content_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    Aggregated { body, etag, content_type }
}

fn aggregated_group(resources: &[Resource], group: &str) -> Value {
    let versions: Vec<_> = versions(resources, group)
        .into_iter()
        .map(|version| {
            let kinds: Vec<_> = sorted(resources, group, version).into_iter().map(aggregated_kind).collect();
            json!({"version": version, "resources": kinds, "freshness": "Current"})
        })
        .collect();
    let mut metadata = Map::new();
    if !group.is_empty() {
        metadata.insert("name".to_owned(), group.into());
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_kind(resource: &Resource) -> Value {
    // The real server leaves group and version of its own kinds out here.
    let response = match resource.origin {
        Origin::BuiltIn => json!({"group": "", "version": "", "kind": resource.kind}),
        Origin::Custom => {
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
        }
    };
    let mut kind = json!({
        "resource": resource.plural, "responseKind": response,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs(),
    });
    add_names(resource, &mut kind);
    if !resource.subresources.is_empty() {
        let subresources = resource.subresources.iter().map(|name| {
            json!({"subresource": name, "responseKind": response, "verbs": resource.subresource_verbs(name)})
        });
        kind["subresources"] = subresources.collect();
    }
    kind
}

/// SHA-512 in upper-case hexadecimal digits, as the real server names a content.
pub(crate) fn hash(content: &[u8]) -> String {
    Sha512::digest(content).iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests;
