//! The API as a service: a request with an identity in, an answer out. It knows nothing of sockets: HTTPS and the controller's own
//! client call the same.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::access::{self, Attributes, Identity, Policy};
use crate::catalogue::Catalogue;
use crate::clock::now;
use crate::decode::{self, Media};
use crate::object;
use crate::options;
use crate::patch::{Kind, Patch};
use crate::remove::{Removed, success};
use crate::resource::Origin;
use crate::route::{Place, Route, Verb};
use crate::server::{Served, Server};
use crate::status::ApiError;
use crate::view::{View, json_answer, refusal};
use crate::write::{Body as Sent, Target, Terms};

/// The body of a request, in bytes: what a real server takes.
const MAX_BODY: usize = 3 * 1024 * 1024;
/// From this size on, reading and checking a body takes so long that it must not hold up the runtime, which nodes are served by.
const LARGE: usize = 64 * 1024;
/// Large bodies that are worked on at once: each may take a hundred times its size in memory.
const LARGE_AT_ONCE: usize = 2;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The API. Requests carry their `Identity` as an extension.
#[derive(Debug, Clone)]
pub struct Api {
    server: Arc<Server>,
    policy: Arc<Policy>,
    catalogue: Arc<Catalogue>,
    /// Places for requests with a large body.
    large: Arc<Semaphore>,
}

impl<B> tower::Service<Request<B>> for Api
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move { Ok(api.take(request).await.unwrap_or_else(|error| refusal(&error))) })
    }
}

impl Api {
    pub fn new(server: Arc<Server>, catalogue: Catalogue) -> Self {
        let policy = Policy::new(server.all().map(|served| &served.resource));
        let large = Arc::new(Semaphore::new(LARGE_AT_ONCE));
        Self { server, policy: Arc::new(policy), catalogue: Arc::new(catalogue), large }
    }

    /// Reads the body, and works on a large one where it keeps nobody else waiting.
    async fn take<B>(self, request: Request<B>) -> Result<Response, ApiError>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if matches!(head.method, Method::GET | Method::HEAD) {
            return self.answer(head, Bytes::new()).await;
        }
        let body = collect(body).await?;
        if body.len() < LARGE {
            return self.answer(head, body).await;
        }
        let Ok(slot) = self.large.clone().acquire_owned().await else {
            return Err(ApiError::internal("the server is stopping"));
        };
        let runtime = Handle::current();
        let work = move || {
            let _slot = slot;
            runtime.block_on(self.answer(head, body))
        };
        tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?
    }

    async fn answer(&self, head: Parts, body: Bytes) -> Result<Response, ApiError> {
        let who = head.extensions.get::<Arc<Identity>>().cloned().ok_or_else(ApiError::unauthorized)?;
        // Taken silently, it would answer for the caller where another user is asked about.
        if let Some(header) = head.headers.keys().find(|name| name.as_str().starts_with("impersonate-")) {
            let why = format!(
                "impersonation is not supported (header {header}): use the user's own kubeconfig or token"
            );
            return Err(ApiError::bad_request(why));
        }
        let asked = Asked {
            method: head.method,
            path: percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            accept: text(&head.headers, &ACCEPT),
            content_type: text(&head.headers, &CONTENT_TYPE),
            agent: text(&head.headers, &USER_AGENT),
            who,
        };
        match Route::of(&asked.path) {
            Route::Other(path) => self.document(&asked, path, &head.headers),
            Route::Resource(place) => self.resource(&asked, place, body).await,
        }
    }

    fn document(&self, asked: &Asked, path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
        let verb = asked.method.as_str().to_ascii_lowercase();
        self.policy.check(&asked.who, &Attributes { verb: &verb, path, ..Attributes::default() })?;
        self.catalogue.answer(&asked.method, path, &asked.query, &asked.accept, headers)
    }

    async fn resource(&self, asked: &Asked, place: Place<'_>, body: Bytes) -> Result<Response, ApiError> {
        let watch = place.watch || options::asks_for_watch(&asked.query);
        let verb = Verb::of(&asked.method, &place, watch).ok_or_else(ApiError::method_not_allowed)?;
        self.policy.check(&asked.who, &attributes(verb, &place))?;
        if verb == Verb::Create && place.name.is_empty() && is_review(&place) {
            return self.review(asked, &place, &body);
        }
        let Some(served) = self.server.find(place.group, place.version, place.plural) else {
            return Err(self.nothing_there(&place));
        };
        let served = served.clone();
        if served.resource.read_only && verb == Verb::Create {
            return Err(self.definition_exists(&served, &body).await);
        }
        is_possible(&served, &place, verb)?;
        let namespace = if served.resource.namespaced { place.namespace } else { "" };
        let target = Target { served: &served, namespace, name: place.name, subresource: place.subresource };
        let view = View::negotiate(&asked.accept, &asked.query, &served)?;
        match verb {
            Verb::Get => {
                let options = options::Get::parse(&asked.query)?;
                let object = self.server.get(target, &options.resource_version).await?;
                view.one(StatusCode::OK, &object.value, &[])
            }
            Verb::List | Verb::Watch => {
                let options = options::List::parse(&asked.query, &served.selectable)?;
                if verb == Verb::Watch {
                    let lines = self.server.watch(target, &options, view.clone()).await?;
                    return Ok(View::stream(lines));
                }
                let listing = self.server.list(target, &options).await?;
                view.list(&listing, &self.server.room)
            }
            Verb::Create | Verb::Update => {
                let creates = verb == Verb::Create;
                let parse = if creates { options::Create::parse } else { options::Create::parse_update };
                let options = parse(&asked.query)?;
                let media = body_media(&asked.content_type, served.resource.origin)?;
                let body = Sent::decode(target, &body, media)?;
                let manager = asked.manager(&options.field_manager);
                let terms = Terms {
                    manager: &manager,
                    dry_run: options.dry_run,
                    validation: options.field_validation,
                    user: &asked.who,
                };
                let written = match creates {
                    true => self.server.create(target, terms, body).await?,
                    false => self.server.replace(target, terms, body).await?,
                };
                view.written(&written)
            }
            Verb::Patch => self.patch(asked, target, &view, body).await,
            Verb::Delete => {
                let options = asked.delete_options(&body)?;
                match self.server.delete(target, &options).await? {
                    Removed::Marked(object) => view.one(StatusCode::OK, &object, &[]),
                    Removed::Gone(last) => {
                        Ok(json_answer(StatusCode::OK, success(&served.resource, &last).to_string().into()))
                    }
                }
            }
            Verb::DeleteCollection => {
                let picked = options::List::parse(&asked.query, &served.selectable)?;
                let options = asked.delete_options(&body)?;
                let listing = self.server.list(target, &picked).await?;
                for object in &listing.objects {
                    let target =
                        Target { namespace: &object.key.namespace, name: &object.key.name, ..target };
                    match self.server.delete(target, &options).await {
                        Err(error) if error.reason != "NotFound" => return Err(error),
                        _ => {}
                    }
                }
                view.list(&listing, &self.server.room)
            }
        }
    }

    async fn patch(
        &self,
        asked: &Asked,
        target: Target<'_>,
        view: &View,
        body: Bytes,
    ) -> Result<Response, ApiError> {
        let kind = PatchKind::of(&asked.content_type, target.served)?;
        let options = options::Patch::parse(&asked.query, kind == PatchKind::Apply)?;
        let manager = asked.manager(&options.field_manager);
        let terms = Terms {
            manager: &manager,
            dry_run: options.dry_run,
            validation: options.field_validation,
            user: &asked.who,
        };
        let written = match kind {
            PatchKind::Apply => {
                let body = Sent::decode_apply(&body)?;
                self.server.apply(target, terms, body, options.force).await?
            }
            PatchKind::Of(kind) => {
                let patch = Patch::parse(kind, &body)?;
                self.server.patch(target, terms, &patch).await?
            }
        };
        view.written(&written)
    }

    fn review(&self, asked: &Asked, place: &Place<'_>, body: &[u8]) -> Result<Response, ApiError> {
        let kind = match place.plural {
            "selfsubjectreviews" => "SelfSubjectReview",
            "selfsubjectaccessreviews" => "SelfSubjectAccessReview",
            _ => "SelfSubjectRulesReview",
        };
        let media = body_media(&asked.content_type, Origin::BuiltIn)?;
        let review =
            decode::decode(body, media).map_err(|error| error.refuse(kind, place.version, body))?.value;
        let answer = match kind {
            "SelfSubjectReview" => access::self_review(&asked.who, &now()),
            "SelfSubjectAccessReview" => access::access_review(&self.policy, &asked.who, &review)?,
            _ => access::rules_review(&self.policy, &asked.who, &review)?,
        };
        Ok(json_answer(StatusCode::CREATED, answer.to_string().into()))
    }

    /// A definition that is served exists, which is what helm wants to hear of the CRDs in a chart; another is not taken.
    async fn definition_exists(&self, served: &Arc<Served>, body: &[u8]) -> ApiError {
        let sent: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let name = object::name(&sent);
        let target = Target { served, namespace: "", name, subresource: "" };
        match self.server.live(target).await {
            Ok(Some(_)) => ApiError::already_exists(&served.resource, name),
            Ok(None) => ApiError::comes_with_the_program(&served.resource, name),
            Err(error) => error,
        }
    }

    /// Under a built-in group the answer is a Status; elsewhere there is no API at all.
    fn nothing_there(&self, place: &Place<'_>) -> ApiError {
        let built_in = self.server.all().any(|served| {
            let of = &served.resource;
            of.origin == Origin::BuiltIn && of.group == place.group && of.version == place.version
        });
        if built_in { ApiError::no_such_resource() } else { ApiError::no_such_page() }
    }
}

/// Questions about oneself, which are asked by creating an object that is not kept.
fn is_review(place: &Place<'_>) -> bool {
    matches!(
        (place.group, place.version, place.plural),
        ("authentication.k8s.io", "v1", "selfsubjectreviews")
            | ("authorization.k8s.io", "v1", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
    )
}

/// What of a request's head the API looks at.
struct Asked {
    method: Method,
    path: String,
    query: String,
    accept: String,
    content_type: String,
    agent: String,
    who: Arc<Identity>,
}

impl Asked {
    /// The owner of what is written: as stated, or the program's name.
    fn manager(&self, stated: &str) -> String {
        const MAX: usize = 128;
        if !stated.is_empty() {
            return stated.to_owned();
        }
        let agent = self.agent.split('/').next().unwrap_or_default();
        let name: String = agent.chars().filter(|letter| !letter.is_control()).take(MAX).collect();
        if name.is_empty() { "unknown".to_owned() } else { name }
    }

    /// The options are an object of Kubernetes' own, whatever kind is deleted.
    fn delete_options(&self, body: &[u8]) -> Result<options::Delete, ApiError> {
        if body.is_empty() {
            return options::Delete::parse(&self.query, body);
        }
        match body_media(&self.content_type, Origin::BuiltIn)? {
            Media::Json => options::Delete::parse(&self.query, body),
            media @ (Media::Yaml | Media::Protobuf) => {
                let decoded =
                    decode::decode(body, media).map_err(|error| ApiError::bad_request(error.to_string()))?;
                options::Delete::parse(&self.query, decoded.value.to_string().as_bytes())
            }
        }
    }
}

/// The media types of a PATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchKind {
    Of(Kind),
    Apply,
}

impl PatchKind {
    fn of(content_type: &str, served: &Served) -> Result<Self, ApiError> {
        const JSON: &str = "application/json-patch+json";
        const MERGE: &str = "application/merge-patch+json";
        const STRATEGIC: &str = "application/strategic-merge-patch+json";
        const APPLY: &str = "application/apply-patch+yaml";
        let built_in = served.resource.origin == Origin::BuiltIn;
        match content_type.split(';').next().unwrap_or_default().trim() {
            JSON => Ok(Self::Of(Kind::Json)),
            MERGE => Ok(Self::Of(Kind::Merge)),
            STRATEGIC if built_in => Ok(Self::Of(Kind::Strategic)),
            APPLY => Ok(Self::Apply),
            _ if built_in => Err(ApiError::unrouted_media()),
            _ => Err(ApiError::unsupported_media(&[JSON, MERGE, APPLY])),
        }
    }
}

fn body_media(content_type: &str, origin: Origin) -> Result<Media, ApiError> {
    const JSON: &str = "application/json";
    const YAML: &str = "application/yaml";
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    match (content_type.split(';').next().unwrap_or_default().trim(), origin) {
        ("" | JSON, _) => Ok(Media::Json),
        (YAML, _) => Ok(Media::Yaml),
        (PROTOBUF, Origin::BuiltIn) => Ok(Media::Protobuf),
        (_, Origin::BuiltIn) => Err(ApiError::unsupported_media(&[JSON, YAML, PROTOBUF])),
        (_, Origin::Custom) => Err(ApiError::unsupported_media(&[JSON, YAML])),
    }
}

fn attributes<'a>(verb: Verb, place: &Place<'a>) -> Attributes<'a> {
    let namespace = if place.plural == "namespaces" { place.name } else { place.namespace };
    Attributes {
        verb: verb.word(),
        group: place.group,
        resource: place.plural,
        subresource: place.subresource,
        namespace,
        name: place.name,
        path: "",
    }
}

/// Whether the kind has what the path names, and the verb is one of its. A real server serves custom kinds by another router, with
/// other words.
fn is_possible(served: &Served, place: &Place<'_>, verb: Verb) -> Result<(), ApiError> {
    let resource = &served.resource;
    let custom = resource.origin == Origin::Custom;
    let named = !place.name.is_empty();
    let writes = !matches!(verb, Verb::Get | Verb::List | Verb::Watch);
    // A namespaced object is found in its namespace only; a cluster-scoped one in none.
    let misplaced = if resource.namespaced {
        place.namespace.is_empty() && (named || writes)
    } else {
        !place.namespace.is_empty()
    };
    let unknown = place.has_rest || (!place.subresource.is_empty() && !resource.has(place.subresource));
    if misplaced {
        let elsewhere = !custom && resource.namespaced && !named;
        return Err(match elsewhere {
            true => ApiError::method_not_allowed(),
            false if custom => ApiError::no_such_page(),
            false => ApiError::no_such_resource(),
        });
    }
    if unknown {
        return Err(match custom {
            true => ApiError::not_found(resource, place.name),
            false => ApiError::no_such_resource(),
        });
    }
    let of_subresource = !place.subresource.is_empty();
    let possible = match verb {
        Verb::Create => !of_subresource && (!named || custom),
        Verb::Update | Verb::Patch => named,
        Verb::Delete => !of_subresource,
        Verb::DeleteCollection => resource.kind != "Namespace",
        Verb::Get | Verb::List | Verb::Watch => true,
    };
    if resource.read_only && writes {
        return Err(ApiError::comes_with_the_program(resource, place.name));
    }
    match possible {
        true => Ok(()),
        false if custom && !named => Err(ApiError::bad_request("name must be provided")),
        false if custom => Err(ApiError::not_supported(resource, verb.word())),
        false => Err(ApiError::method_not_allowed()),
    }
}

async fn collect<B>(body: B) -> Result<Bytes, ApiError>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await;
    let Ok(body) = body else {
        return Err(ApiError::new(408, "Timeout", "the body did not arrive in time"));
    };
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {MAX_BODY}"),
        )),
        Err(error) => Err(ApiError::bad_request(format!("failed to read the body: {error}"))),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}
