//! What is served: one `Resource` for each kind, built-in or from a CRD. Made once at the start and shared by all requests.

use std::sync::Arc;

use crate::schema::Schema;

/// One served kind.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Empty for core.
    pub group: String,
    pub version: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// The subresources that it has: `status`, `finalize`, `approval`.
    pub subresources: Vec<String>,
    /// No write is taken: CustomResourceDefinition.
    pub read_only: bool,
    pub origin: Origin,
    /// The whole object's schema, `metadata` included.
    pub schema: Arc<Schema>,
    /// What `kubectl get` prints, the name included, in order.
    pub columns: Vec<Column>,
}

/// Where a kind comes from, which decides how its bodies are decoded and which patches it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A wrong type is a decoding error (400); strategic merge patch is taken.
    BuiltIn,
    /// A wrong type is a validation error (422); strategic merge patch is not taken (415).
    Custom,
}

/// A column of a Table, as `additionalPrinterColumns` states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// integer, number, string, boolean or date.
    pub kind: String,
    pub format: String,
    pub description: String,
    /// 0: always shown; higher: with `-o wide`.
    pub priority: i64,
    /// Kubernetes' JSONPath without braces: `.status.conditions[?(@.type=="Ready")].status`. Empty in a built-in kind, whose
    /// cells are computed.
    pub json_path: String,
}

impl Resource {
    /// `edgeapps.skerry.dev`, or `namespaces` in the core group.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The group in whose form objects are stored and by whose rules they are checked: an event is one of core, whichever of its
    /// two faces it is seen by.
    pub fn home_group(&self) -> &str {
        match (self.group.as_str(), self.plural.as_str()) {
            ("events.k8s.io", "events") => "",
            (own, _) => own,
        }
    }

    /// The full name there.
    pub fn home_name(&self) -> String {
        match self.home_group() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// `skerry.dev/v1alpha1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|own| own == subresource)
    }

    /// The verbs that it takes, as discovery lists them and in that order, which in the real server depends on the origin.
    pub fn verbs(&self) -> &'static [&'static str] {
        match self.origin {
            _ if self.read_only => &["get", "list", "watch"],
            Origin::Custom => {
                &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
            }
            Origin::BuiltIn if self.group.is_empty() && self.plural == "namespaces" => {
                &["create", "delete", "get", "list", "patch", "update", "watch"]
            }
            Origin::BuiltIn => {
                &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            }
        }
    }

    /// The verbs of one of its subresources.
    pub fn subresource_verbs(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "finalize" => &["update"],
            _ if self.read_only => &["get"],
            _ => &["get", "patch", "update"],
        }
    }
}
