//! Kubernetes Events on transitions. They are a courtesy: what does not fit the queue is dropped and counted.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use skerry_api::{EdgeApp, EdgeNode};
use skerry_proto::caps;
use skerry_terms::{AppKey, NodeName};
use tokio::sync::mpsc;
use tracing::debug;

use crate::metrics::Metrics;
use skerry_terms::Chain;

/// Events that wait: a burst of a fleet, not its whole history.
const QUEUE: usize = 256;
/// The API refuses a longer note.
const NOTE_MAX: usize = 1024;

/// Something worth an Event.
#[derive(Debug, Clone)]
pub struct Notice {
    pub about: About,
    pub warning: bool,
    /// A stable CamelCase word.
    pub reason: String,
    pub note: String,
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

    fn put(&self, about: About, warning: bool, reason: &str, note: &str) {
        let notice =
            Notice { about, warning, reason: reason.to_owned(), note: caps::truncate(note, NOTE_MAX) };
        if self.queue.try_send(notice).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

/// Publishes notices until nobody sends any more.
pub async fn publish(client: Client, replica: String, mut notices: mpsc::Receiver<Notice>, metrics: Metrics) {
    let reporter = Reporter { controller: super::write::FIELD_MANAGER.to_owned(), instance: Some(replica) };
    let recorder = Recorder::new(client, reporter);
    while let Some(notice) = notices.recv().await {
        let Notice { about, warning, reason, note } = notice;
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            action: reason.clone(),
            reason,
            note: Some(note),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &reference(about)).await {
            metrics.events_dropped.inc();
            debug!("failed to publish an Event: {}", Chain(&error));
        }
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
