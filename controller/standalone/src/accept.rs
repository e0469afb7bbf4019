//! The `Accept` header: which form of an object a client asks for. Only JSON is written, so what is negotiated is the
//! transformation: Table, PartialObjectMetadata, aggregated discovery.

use crate::resource::Origin;
use crate::status::{ApiError, Details};

/// More alternatives than any client names.
const MAX_ALTERNATIVES: usize = 32;

const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const STREAMS: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// What an answer is turned into before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object or the list itself.
    Plain,
    /// `as=Table`, with the apiVersion that it shall have: `meta.k8s.io/v1` or `meta.k8s.io/v1beta1`.
    Table(&'static str),
    /// `as=PartialObjectMetadata`.
    Partial(&'static str),
    /// `as=PartialObjectMetadataList`.
    PartialList(&'static str),
}

/// One alternative of the header.
struct Clause<'a> {
    kind: &'a str,
    subkind: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn matches_json(&self) -> bool {
        matches!((self.kind, self.subkind), ("application", "json" | "*") | ("*", "*"))
    }

    fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().rev().find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    fn transforms(&self) -> bool {
        self.parameters.iter().any(|(name, _)| matches!(*name, "as" | "g" | "v"))
    }

    /// The real server skips an alternative that asks for another stream or another version of the server.
    fn is_understood(&self) -> bool {
        matches!(self.parameter("stream"), "" | "watch") && self.parameter("sv").is_empty()
    }
}

/// The form of an object or a list of a kind. Without a header: the plain one.
pub fn form(accept: &str, origin: Origin) -> Result<Form, ApiError> {
    if accept.is_empty() {
        return Ok(Form::Plain);
    }
    if origin == Origin::BuiltIn && !names_media_type(accept) {
        return Err(unrouted(&format!("{MEDIA_TYPES}, {STREAMS}")));
    }
    let clauses = clauses(accept);
    let found =
        clauses.iter().filter(|clause| clause.matches_json() && clause.is_understood()).find_map(|clause| {
            let version = match (clause.parameter("g"), clause.parameter("v")) {
                ("meta.k8s.io", "v1") => "meta.k8s.io/v1",
                ("meta.k8s.io", "v1beta1") => "meta.k8s.io/v1beta1",
                _ if !clause.transforms() => return Some(Form::Plain),
                _ => return None,
            };
            match clause.parameter("as") {
                "Table" => Some(Form::Table(version)),
                "PartialObjectMetadata" => Some(Form::Partial(version)),
                "PartialObjectMetadataList" => Some(Form::PartialList(version)),
                _ => None,
            }
        });
    found.ok_or_else(not_acceptable)
}

/// The form of the discovery at `/api` and `/apis`: the version of the aggregated one (`v2`, `v2beta1`), or None for the plain one.
pub fn discovery_form(accept: &str) -> Result<Option<&'static str>, ApiError> {
    if accept.is_empty() {
        return Ok(None);
    }
    let clauses = clauses(accept);
    let found =
        clauses.iter().filter(|clause| clause.matches_json() && clause.is_understood()).find_map(|clause| {
            let asked = (clause.parameter("g"), clause.parameter("v"), clause.parameter("as"));
            match asked {
                ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList") => Some(Some("v2")),
                ("apidiscovery.k8s.io", "v2beta1", "APIGroupDiscoveryList") => Some(Some("v2beta1")),
                _ if !clause.transforms() => Some(None),
                _ => None,
            }
        });
    found.ok_or_else(not_acceptable)
}

/// Whether JSON as such is acceptable: `/apis/<group>/<version>` and the OpenAPI documents, which have no other form.
pub fn takes_json(accept: &str) -> bool {
    accept.is_empty() || clauses(accept).iter().any(Clause::matches_json)
}

/// The answer where nothing that is asked for can be given.
pub fn not_acceptable() -> ApiError {
    ApiError::new(406, "NotAcceptable", format!("only the following media types are accepted: {MEDIA_TYPES}"))
}

/// The answer of the real server's router, which stands before the built-in kinds and reads the header in a simpler way.
fn unrouted(types: &str) -> ApiError {
    let message = format!("406: Not Acceptable\n\nAvailable representations: {types}");
    ApiError::new(406, "NotAcceptable", message).with(Details::default())
}

fn names_media_type(accept: &str) -> bool {
    accept.split(',').any(|part| {
        let name = part.split(';').next().unwrap_or_default().trim_matches(' ');
        name == "*/*" || MEDIA_TYPES.split(", ").any(|known| known == name)
    })
}

/// The alternatives, best first: by quality, then those without a wildcard.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<_> = accept.split(',').take(MAX_ALTERNATIVES).filter_map(clause).collect();
    let rank = |clause: &Clause<'_>| (clause.kind == "*", clause.subkind == "*");
    clauses.sort_by(|left, right| {
        right.quality.total_cmp(&left.quality).then_with(|| rank(left).cmp(&rank(right)))
    });
    clauses
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.trim_matches(' ').split(';');
    let name = parts.next()?;
    let (kind, subkind) = match name.split_once('/') {
        Some((_, rest)) if rest.contains('/') => return None,
        Some((kind, subkind)) => (kind.trim_matches(' '), subkind.trim_matches(' ')),
        None if name.trim_matches(' ') == "*" => ("*", "*"),
        None => return None,
    };
    let mut clause = Clause { kind, subkind, quality: 1.0, parameters: Vec::new() };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim_matches(' ') {
            "q" => {
                clause.quality = value.parse().ok().filter(|quality: &f32| quality.is_finite()).unwrap_or(0.0)
            }
            name => clause.parameters.push((name, value.trim_matches(' '))),
        }
    }
    Some(clause)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of the real server, without what it writes as YAML or protobuf.
    #[test]
    fn forms_are_negotiated_as_in_the_real_server() {
        const NONE: &str = "only the following media types are accepted: application/json, application/yaml, \
                            application/vnd.kubernetes.protobuf";
        const UNROUTED: &str = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                                application/vnd.kubernetes.protobuf, application/json;stream=watch, \
                                application/vnd.kubernetes.protobuf;stream=watch";
        let cases = [
            ("", Ok(Form::Plain), Ok(Form::Plain)),
            ("*/*", Ok(Form::Plain), Ok(Form::Plain)),
            ("application/json;q=x", Ok(Form::Plain), Ok(Form::Plain)),
            ("application/xml", Err(UNROUTED), Err(NONE)),
            ("application/*", Err(UNROUTED), Ok(Form::Plain)),
            ("application/json;sv=1", Err(NONE), Err(NONE)),
            ("application/json;stream=foo", Err(NONE), Err(NONE)),
            ("application/json;stream=watch", Ok(Form::Plain), Ok(Form::Plain)),
            ("application/json;as=Foo;g=meta.k8s.io;v=v1", Err(NONE), Err(NONE)),
            ("application/json;as=Table;g=meta.k8s.io;v=v2", Err(NONE), Err(NONE)),
            (
                "*/*;as=Table;g=meta.k8s.io;v=v1",
                Ok(Form::Table("meta.k8s.io/v1")),
                Ok(Form::Table("meta.k8s.io/v1")),
            ),
            ("application/vnd.kubernetes.protobuf,application/json", Ok(Form::Plain), Ok(Form::Plain)),
        ];
        for (accept, built_in, custom) in cases {
            let said = |form: Result<Form, ApiError>| form.map_err(|error| error.message);
            assert_eq!(
                said(form(accept, Origin::BuiltIn)),
                built_in.map_err(str::to_owned),
                "{accept}, built-in"
            );
            assert_eq!(said(form(accept, Origin::Custom)), custom.map_err(str::to_owned), "{accept}, custom");
        }
    }

    #[test]
    fn the_first_alternative_that_is_understood_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl, Origin::Custom), Ok(Form::Table("meta.k8s.io/v1")));
        let later = "application/json;as=Table;v=v9;g=meta.k8s.io, application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
        assert_eq!(form(later, Origin::Custom), Ok(Form::PartialList("meta.k8s.io/v1")));
        assert_eq!(
            form("application/json;as=Table;v=v1;g=meta.k8s.io;q=0.1, application/json", Origin::Custom),
            Ok(Form::Plain)
        );
    }

    #[test]
    fn discovery_is_aggregated_for_those_who_ask() {
        let ask = |version: &str| {
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        };
        assert_eq!(discovery_form(&format!("{},application/json", ask("v2"))), Ok(Some("v2")));
        assert_eq!(discovery_form(&format!("{},application/json", ask("v2beta1"))), Ok(Some("v2beta1")));
        assert_eq!(discovery_form(&format!("{},application/json", ask("v3"))), Ok(None));
        assert_eq!(discovery_form(&ask("v3")).map_err(|error| error.code), Err(406));
        assert_eq!(discovery_form("application/json, */*"), Ok(None));
    }
}
