//! Kubernetes Events on transitions. Those of the controller itself are a courtesy: what does not fit the queue, or is not taken, is dropped and
//! counted. What a box told was acknowledged, so it is tried until the API server has answered for good.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use skerry_api::{EdgeApp, EdgeNode};
use skerry_proto::caps;
use skerry_terms::{AppKey, Chain, NodeName};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::write::{Failure, classify};
use crate::delay;
use crate::metrics::Metrics;

/// Events that wait: a burst of a fleet, not its whole history.
const QUEUE: usize = 256;
/// The API refuses a longer note.
const NOTE_MAX: usize = 1024;
const REASON_MAX: usize = 128;
/// What is kept of an object's name in that of an Event, so that there is room for what tells it from others.
const NAME_KEPT: usize = 200;

/// Something worth an Event.
#[derive(Debug, Clone)]
pub struct Notice {
    pub about: About,
    pub warning: bool,
    /// A stable CamelCase word.
    pub reason: String,
    pub note: String,
    /// When, for what happened elsewhere. Absent: now.
    pub happened: Option<Happened>,
}

/// When something happened that is told afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Tells it from everything else: told twice, it is still one Event.
    pub id: String,
    /// Milliseconds since 1970.
    pub first: i64,
    pub last: i64,
    /// How often.
    pub count: u32,
}

/// The object that an Event is about, and its uid.
#[derive(Debug, Clone)]
pub enum About {
    App(AppKey, String),
    Node(NodeName, String),
}

/// Takes notices without waiting.
#[derive(Debug, Clone)]
pub struct EventSink {
    queue: mpsc::Sender<Notice>,
    metrics: Metrics,
}

impl EventSink {
    pub fn new(metrics: Metrics) -> (Self, mpsc::Receiver<Notice>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, receiver)
    }

    pub fn app(&self, key: &AppKey, uid: &str, warning: bool, reason: &str, note: &str) {
        self.put(About::App(key.clone(), uid.to_owned()), warning, reason, note);
    }

    pub fn node(&self, name: &NodeName, uid: &str, warning: bool, reason: &str, note: &str) {
        self.put(About::Node(name.clone(), uid.to_owned()), warning, reason, note);
    }

    /// Something that happened on a box.
    pub fn happened(&self, about: About, warning: bool, reason: &str, note: &str, happened: Happened) {
        self.put_at(about, warning, reason, note, Some(happened));
    }

    /// How many notices there is room for.
    pub fn room(&self) -> usize {
        self.queue.capacity()
    }

    fn put(&self, about: About, warning: bool, reason: &str, note: &str) {
        self.put_at(about, warning, reason, note, None);
    }

    fn put_at(&self, about: About, warning: bool, reason: &str, note: &str, happened: Option<Happened>) {
        let reason = caps::truncate(reason, REASON_MAX);
        let notice = Notice { about, warning, reason, note: caps::truncate(note, NOTE_MAX), happened };
        if self.queue.try_send(notice).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

/// Publishes notices until nobody sends any more.
pub async fn publish(client: Client, replica: String, mut notices: mpsc::Receiver<Notice>, metrics: Metrics) {
    let reporter = Reporter { controller: super::write::FIELD_MANAGER.to_owned(), instance: Some(replica) };
    let recorder = Recorder::new(client.clone(), reporter.clone());
    while let Some(notice) = notices.recv().await {
        let Notice { about, warning, reason, note, happened } = notice;
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        let event = Event { type_, action: reason.clone(), reason, note: Some(note), secondary: None };
        let published = match happened {
            None => recorder.publish(&event, &reference(about)).await,
            Some(happened) => create(&client, told(&reporter, event, reference(about), happened)).await,
        };
        if let Err(error) = published {
            metrics.events_dropped.inc();
            debug!("failed to publish an Event: {}", Chain(&error));
        }
    }
}

/// Tries until the server has answered for good.
async fn create(client: &Client, event: events::v1::Event) -> kube::Result<()> {
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<events::v1::Event> = Api::namespaced(client.clone(), namespace);
    let mut failures = 0;
    loop {
        let error = match api.create(&PostParams::default(), &event).await {
            Ok(_) => return Ok(()),
            // It was told before, to this controller or to one before it.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(error) => error,
        };
        match classify(&error) {
            Failure::Moot | Failure::Refused => return Err(error),
            Failure::Passing => {}
        }
        failures += 1;
        if failures == 1 {
            warn!("failed to publish what a box told, trying again: {}", Chain(&error));
        }
        tokio::time::sleep(delay::before_retry(failures)).await;
    }
}

/// An Event with a time of its own, which the recorder does not know.
fn told(
    reporter: &Reporter,
    event: Event,
    regarding: ObjectReference,
    happened: Happened,
) -> events::v1::Event {
    let Happened { id, first, last, count } = happened;
    let moment = |millis| MicroTime(Timestamp::from_millisecond(millis).unwrap_or_default());
    let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let name = regarding.name.clone().unwrap_or_default();
    let kept: String = name.chars().take(NAME_KEPT).collect();
    events::v1::Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{id}", kept.trim_end_matches(['.', '-']))),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(event.action),
        reason: Some(event.reason),
        note: event.note,
        type_: Some(match event.type_ {
            EventType::Normal => "Normal".to_owned(),
            EventType::Warning => "Warning".to_owned(),
        }),
        regarding: Some(regarding),
        event_time: Some(moment(first)),
        series: (count > 1).then(|| events::v1::EventSeries {
            count: i32::try_from(count).unwrap_or(i32::MAX),
            last_observed_time: moment(last),
        }),
        reporting_controller: Some(reporter.controller.clone()),
        reporting_instance: reporter.instance.clone(),
        ..events::v1::Event::default()
    }
}

fn reference(about: About) -> ObjectReference {
    let (resource, namespace, name, uid) = match about {
        About::App(key, uid) => {
            (ApiResource::erase::<EdgeApp>(&()), Some(key.namespace().to_owned()), key.name().to_owned(), uid)
        }
        About::Node(name, uid) => (ApiResource::erase::<EdgeNode>(&()), None, name.to_string(), uid),
    };
    ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        namespace,
        name: Some(name),
        uid: Some(uid),
        ..ObjectReference::default()
    }
}
