//! From the method and path of a request to what it asks for.

use http::Method;

/// A path, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// Discovery, documents, health, version.
    Other(&'a str),
    Resource(Place<'a>),
}

/// What a path under `/api/v1` or `/apis/GROUP/VERSION` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place<'a> {
    pub group: &'a str,
    pub version: &'a str,
    /// Empty: all namespaces, or a cluster-scoped kind.
    pub namespace: &'a str,
    pub plural: &'a str,
    /// Empty: the collection.
    pub name: &'a str,
    pub subresource: &'a str,
    /// More than can be meant.
    pub has_rest: bool,
    /// By the old path of a watch, `/api/v1/watch/…`.
    pub watch: bool,
}

impl<'a> Route<'a> {
    pub fn of(path: &'a str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Self::Other(path),
        };
        let (watch, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        let place = Place { group, version, watch, ..Place::default() };
        Self::Resource(match rest {
            // Of the namespace itself: `namespaces/NAME/status`. Of what is in it: `namespaces/NAME/PLURAL`.
            ["namespaces", name, subresource @ ("status" | "finalize")] if group.is_empty() => {
                Place { plural: "namespaces", name, subresource, ..place }
            }
            ["namespaces", namespace, plural, rest @ ..] => named(Place { namespace, plural, ..place }, rest),
            [plural, rest @ ..] => named(Place { plural, ..place }, rest),
            [] => return Self::Other(path),
        })
    }
}

fn named<'a>(place: Place<'a>, rest: &[&'a str]) -> Place<'a> {
    match rest {
        [] => place,
        [name] => Place { name, ..place },
        [name, subresource] => Place { name, subresource, ..place },
        [name, subresource, ..] => Place { name, subresource, has_rest: true, ..place },
    }
}

/// What is done to it, in the words of access rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// None: a method that the API does not know.
    pub fn of(method: &Method, place: &Place<'_>, watch: bool) -> Option<Self> {
        Some(match *method {
            Method::GET | Method::HEAD if watch && (place.watch || place.name.is_empty()) => Self::Watch,
            Method::GET | Method::HEAD if place.name.is_empty() => Self::List,
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE if place.name.is_empty() => Self::DeleteCollection,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_thing() {
        let place = |path| match Route::of(path) {
            Route::Resource(place) => {
                [place.group, place.version, place.namespace, place.plural, place.name, place.subresource]
                    .join(" ")
            }
            Route::Other(path) => path.to_owned(),
        };
        let cases = [
            ("/api/v1/namespaces", " v1  namespaces  "),
            ("/api/v1/namespaces/a", " v1  namespaces a "),
            ("/api/v1/namespaces/a/finalize", " v1  namespaces a finalize"),
            ("/api/v1/namespaces/a/secrets", " v1 a secrets  "),
            ("/api/v1/namespaces/a/secrets/b", " v1 a secrets b "),
            ("/apis/skerry.dev/v1alpha1/edgenodes/b/status", "skerry.dev v1alpha1  edgenodes b status"),
            (
                "/apis/skerry.dev/v1alpha1/namespaces/a/edgeapps/b/status",
                "skerry.dev v1alpha1 a edgeapps b status",
            ),
            ("/apis/skerry.dev/v1alpha1", "/apis/skerry.dev/v1alpha1"),
            ("/api/v1", "/api/v1"),
            ("/version", "/version"),
        ];
        for (path, expected) in cases {
            assert_eq!(place(path), expected, "{path}");
        }
    }
}
