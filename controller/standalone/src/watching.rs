//! Watches: one line of JSON for each change, in order, from any revision that the history still holds.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::object;
use crate::options::List;
use crate::read::{Picks, revision};
use crate::room::Taken;
use crate::server::{Served, Server};
use crate::status::ApiError;
use crate::store::{self, Event, EventKind, Range, WatchEnd};
use crate::view::View;
use crate::write::{Target, parse};

/// Between bookmarks, about as often as a real server sends them.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A watch that names no end is ended within this time to twice it, as by a real server, so that no client holds one for ever.
const MIN_AGE: Duration = Duration::from_secs(1800);
/// No client may ask for more: a clock cannot be added to without end.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The annotation of the bookmark after the last initial event.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A watch that is being served.
struct Watching {
    /// Lines that are ready to be sent.
    ready: VecDeque<Bytes>,
    /// The room of the first of them.
    held: Option<Taken>,
    /// None when no more lines will come.
    watch: Option<store::Watch>,
    picks: Picks,
    view: View,
    /// Sent regularly, if the client asked for them and only when there is news.
    bookmarks: Option<Interval>,
    /// The newest revision that the client knows.
    told: u64,
    ends: Instant,
    served: Arc<Served>,
}

impl Server {
    /// The lines of a watch.
    pub async fn watch(
        &self,
        target: Target<'_>,
        options: &List,
        mut view: View,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static, ApiError> {
        let namespace = (!target.namespace.is_empty()).then_some(target.namespace);
        let mut picks = Picks::of(options);
        picks.name = target.name.to_owned();
        let from = revision(&options.resource_version)?;
        let streams_initial = options.send_initial_events == Some(true);
        if streams_initial || from == 0 {
            self.reach(from).await?;
        }
        let mut ready = VecDeque::new();
        let mut told = from;
        // Without a revision, or where it is asked for, a watch begins with what is there.
        if streams_initial || (from == 0 && options.send_initial_events.is_none()) {
            let list = self.store.list(&target.served.stored_as, namespace, Range::default()).await;
            let list = list.map_err(ApiError::internal)?;
            told = list.revision;
            for object in list.objects {
                if picks.all() || picks.picks(&parse(&object)?) {
                    ready.push_back(line("ADDED", &view.object(&object.value)?));
                }
            }
            if streams_initial && options.allow_bookmarks {
                let mut bookmark = bookmark(target.served, told);
                bookmark["metadata"]["annotations"] = json!({INITIAL_EVENTS_END: "true"});
                ready.push_back(line("BOOKMARK", &view.bookmark(&bookmark)?));
            }
        } else if from == 0 {
            told = self.store.revision();
        }
        let held = Some(self.room.take(ready.iter().map(Bytes::len).sum())?);
        let watch = match self.store.watch(&target.served.stored_as, namespace, told) {
            Ok(watch) => Some(watch),
            Err(compacted) => {
                let error =
                    ApiError::expired(format!("too old resource version: {told} ({})", compacted.oldest));
                ready.push_back(line("ERROR", error.body().to_string().as_bytes()));
                None
            }
        };
        let bookmarks = options.allow_bookmarks.then(|| {
            let mut ticks = interval_at(Instant::now() + BOOKMARKS, BOOKMARKS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let age = match options.timeout_seconds {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()).min(MAX_AGE),
            Some(_) | None => MIN_AGE.mul_f64(1.0 + jitter()),
        };
        Ok(lines(Watching {
            ready,
            held,
            watch,
            picks,
            view,
            bookmarks,
            told,
            ends: Instant::now() + age,
            served: target.served.clone(),
        }))
    }
}

impl Watching {
    /// The next line; None at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            self.held = None;
            let watch = self.watch.as_mut()?;
            // Each arm is cancel-safe: what is not taken here is there the next time.
            tokio::select! {
                event = watch.next() => match event {
                    Ok(event) => self.take(&event),
                    Err(WatchEnd::Compacted(compacted)) => {
                        let error = ApiError::expired(format!("too old resource version: {} ({})", self.told, compacted.oldest));
                        self.end_with(&error);
                    }
                    Err(WatchEnd::Closed) => self.watch = None,
                    Err(WatchEnd::Failed(error)) => self.end_with(&ApiError::internal(error)),
                },
                () = tick(self.bookmarks.as_mut()) => {
                    let passed = watch.passed();
                    if passed > self.told {
                        self.told = passed;
                        let line = self.view.bookmark(&bookmark(&self.served, passed)).map(|object| line("BOOKMARK", &object));
                        self.ready.extend(line);
                    }
                }
                () = sleep_until(self.ends) => self.watch = None,
            }
        }
    }

    fn end_with(&mut self, error: &ApiError) {
        self.watch = None;
        self.ready.push_back(line("ERROR", error.body().to_string().as_bytes()));
    }

    /// Makes the line of an event, if the client is to see it: an object that leaves the selection is deleted for it.
    fn take(&mut self, event: &Event) {
        self.told = event.object.revision;
        match self.shown(event) {
            Ok(Some((kind, object))) => match self.view.object(&object) {
                Ok(object) => self.ready.push_back(line(kind, &object)),
                Err(error) => self.end_with(&error),
            },
            Ok(None) => {}
            Err(error) => self.end_with(&error),
        }
    }

    fn shown(&self, event: &Event) -> Result<Option<(&'static str, Bytes)>, ApiError> {
        let previous = event.previous.as_ref().map(|text| serde_json::from_slice::<Value>(text)).transpose();
        let previous = previous.map_err(ApiError::internal)?;
        let (was, is) = if self.picks.all() {
            (event.kind != EventKind::Added, event.kind != EventKind::Deleted)
        } else {
            let is = event.kind != EventKind::Deleted && self.picks.picks(&parse(&event.object)?);
            (previous.as_ref().is_some_and(|previous| self.picks.picks(previous)), is)
        };
        Ok(match (was, is) {
            (false, true) => Some(("ADDED", event.object.value.clone())),
            (true, true) => Some(("MODIFIED", event.object.value.clone())),
            (true, false) => {
                let mut last = match previous {
                    Some(previous) => previous,
                    None => parse(&event.object)?,
                };
                object::set(&mut last, "resourceVersion", Some(event.object.revision.to_string().into()));
                Some(("DELETED", last.to_string().into()))
            }
            (false, false) => None,
        })
    }
}

/// The stream of a watch's lines.
fn lines(watching: Watching) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    unfold(watching, |mut watching| async move { Some((Ok(watching.next().await?), watching)) })
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// An object that says nothing but how far the watch has come.
fn bookmark(served: &Served, revision: u64) -> Value {
    json!({
        "apiVersion": served.api_version, "kind": served.resource.kind,
        "metadata": {"resourceVersion": revision.to_string()},
    })
}

async fn tick(bookmarks: Option<&mut Interval>) {
    match bookmarks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

/// Between 0 and 1, so that watches that began together do not end together.
fn jitter() -> f64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    f64::from(random as u32) / f64::from(u32::MAX)
}
