//! GET of one object, and lists: page by page at one revision, filtered by selectors.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::{DecodeError, Media, decode};
use crate::object;
use crate::options::{List, VersionMatch};
use crate::selector::{FieldSelector, LabelSelector};
use crate::server::Server;
use crate::status::{ApiError, Cause, Details};
use crate::store::{Object, Range, ReadError};
use crate::write::{Target, parse};

/// How long a read waits for a revision that is not there yet, as long as a real server does.
const PATIENCE: Duration = Duration::from_secs(3);
/// Objects that are read at once while a selector picks some of them.
const PAGE: usize = 500;

/// Reads a token as Go does.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a list answers.
#[derive(Debug)]
pub struct Listing {
    /// The revision that the list is of.
    pub revision: u64,
    pub objects: Vec<Object>,
    /// Where the next page goes on; empty on the last.
    pub next: String,
    /// How many are left, where that is known.
    pub remaining: Option<u64>,
}

/// Namespace and name of an object, as lists are ordered.
type Place = (String, String);

/// Which objects are meant.
#[derive(Debug, Clone, Default)]
pub struct Picks {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    /// Empty: any.
    pub name: String,
}

impl Picks {
    pub fn of(options: &List) -> Self {
        Self { labels: options.labels.clone(), fields: options.fields.clone(), name: String::new() }
    }

    pub fn all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_empty()
    }

    pub fn picks(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let named = self.name.is_empty() || object::name(object) == self.name;
        named && self.labels.matches_map(labels) && self.fields.matches(object)
    }
}

/// What a continue token holds: the form of a real server, so that what clients know of it stays true.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

impl Server {
    /// One object, not older than the given revision.
    pub async fn get(&self, target: Target<'_>, not_before: &str) -> Result<Object, ApiError> {
        self.reach(revision(not_before)?).await?;
        let found = self.live(target).await?;
        found.ok_or_else(|| ApiError::not_found(&target.served.resource, target.name))
    }

    pub async fn list(&self, target: Target<'_>, options: &List) -> Result<Listing, ApiError> {
        let picks = Picks::of(options);
        let namespace = (!target.namespace.is_empty()).then_some(target.namespace);
        let limit = options.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let wanted = revision(&options.resource_version)?;
        let (mut at, mut after) = (None, None);
        match options.continue_token.as_str() {
            "" => match (wanted, options.resource_version_match) {
                (0, _) => {}
                (revision, Some(VersionMatch::NotOlderThan)) => self.reach(revision).await?,
                (revision, None) if limit.is_none() => self.reach(revision).await?,
                (revision, Some(VersionMatch::Exact) | None) => {
                    self.reach(revision).await?;
                    at = Some(revision);
                }
            },
            _ if wanted > 0 => {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            token => {
                let token = read_token(token)?;
                // A token of revision -1 takes an inconsistent rest, which is offered when its revision is gone.
                at = u64::try_from(token.rv).ok().filter(|revision| *revision > 0);
                after = Some(start_of(&token.start, target)?);
            }
        }
        let mut listing = Listing { revision: 0, objects: Vec::new(), next: String::new(), remaining: None };
        loop {
            let wanted = limit.map(|limit| limit - listing.objects.len());
            let page = if picks.all() { wanted } else { wanted.map(|wanted| wanted.max(PAGE)) };
            let range = Range { at, after: after.clone(), limit: page };
            let page = self.store.list(&target.served.stored_as, namespace, range).await;
            let page = page.map_err(|error| too_old(error, after.as_ref(), target))?;
            listing.revision = page.revision;
            at = Some(page.revision);
            let read = page.objects.len();
            for (index, object) in page.objects.into_iter().enumerate() {
                after = Some((object.key.namespace.to_string(), object.key.name.to_string()));
                if picks.all() || picks.picks(&parse(&object)?) {
                    listing.objects.push(object);
                }
                if limit.is_some_and(|limit| listing.objects.len() >= limit)
                    && (page.more || index + 1 < read)
                {
                    listing.next =
                        write_token(i64::try_from(page.revision).unwrap_or(-1), after.as_ref(), target);
                    listing.remaining = picks.all().then_some(page.remaining);
                    return Ok(listing);
                }
            }
            if !page.more {
                return Ok(listing);
            }
        }
    }

    /// Waits until the store is at a revision that a client has seen; it has seen none that never was.
    pub async fn reach(&self, revision: u64) -> Result<(), ApiError> {
        let current = self.store.revision();
        if revision <= current || self.store.wait_for(revision, PATIENCE).await {
            return Ok(());
        }
        Err(too_large(revision, self.store.revision()))
    }
}

fn too_large(revision: u64, current: u64) -> ApiError {
    let cause = Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    };
    let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
    let details = Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() };
    ApiError::new(504, "Timeout", message).with(details)
}

/// What the history does not hold any more. Inside a chunked list, a token is offered that goes on with what is there now.
fn too_old(error: ReadError, after: Option<&Place>, target: Target<'_>) -> ApiError {
    let ReadError::Compacted { .. } = error else { return ApiError::internal(error) };
    if after.is_none() {
        return ApiError::expired("The resourceVersion for the provided list is too old.");
    }
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
                   the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
                   Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
                   deleted between the time the first chunk was returned and now may show up in the list.";
    ApiError { go_on: write_token(-1, after, target), ..ApiError::expired(message) }
}

fn write_token(revision: i64, last: Option<&Place>, target: Target<'_>) -> String {
    let Some((namespace, name)) = last else { return String::new() };
    let start = if target.namespace.is_empty() && target.served.resource.namespaced {
        format!("{namespace}/{name}\0")
    } else {
        format!("{name}\0")
    };
    let token = Token { v: "meta.k8s.io/v1".to_owned(), rv: revision, start };
    serde_json::to_vec(&token).map(|text| BASE64_URL_SAFE_NO_PAD.encode(text)).unwrap_or_default()
}

fn read_token(token: &str) -> Result<Token, ApiError> {
    let refuse = |why: String| {
        ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let text = FORGIVING.decode(token).map_err(|error| refuse(error.to_string()))?;
    let token: Token = match decode(&text, Media::Json) {
        Ok(decoded) => serde_json::from_value(decoded.value).map_err(|error| refuse(error.to_string()))?,
        Err(DecodeError::Json(why)) => return Err(refuse(why)),
        Err(other) => return Err(refuse(other.to_string())),
    };
    match token {
        Token { ref v, .. } if v != "meta.k8s.io/v1" => {
            Err(refuse(format!("server does not recognize this encoded version {v}")))
        }
        Token { rv: 0, .. } => {
            Err(refuse("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned()))
        }
        Token { ref start, .. } if start.is_empty() => {
            Err(refuse("encoded start key empty (version meta.k8s.io/v1)".to_owned()))
        }
        Token { ref start, .. } if start.split('/').any(|part| part == ".." || part == ".") => {
            Err(refuse(format!("encoded start key \"{start}\" is not valid")))
        }
        token => Ok(token),
    }
}

/// The last object of the page before.
fn start_of(start: &str, target: Target<'_>) -> Result<Place, ApiError> {
    let start = start.trim_start_matches('/').trim_end_matches('\0');
    let (namespace, name) = match start.split_once('/') {
        Some((namespace, name)) if target.namespace.is_empty() => (namespace, name),
        Some(_) => {
            return Err(ApiError::bad_request(
                "invalid continue token: continue key is not valid: it is of another list",
            ));
        }
        None => (target.namespace, start),
    };
    Ok((namespace.to_owned(), name.to_owned()))
}

/// A resourceVersion that a client gives back: opaque to it, a number to us. Empty and 0: whichever.
pub fn revision(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let why = format!("Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax");
        ApiError::bad_request(why)
    })
}
