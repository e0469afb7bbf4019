//! Events are for reading soon: they go an hour after they were last told, as on a real server, so that a crash loop fills no store.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{PAGE, absent_is_fine};
use crate::object;
use crate::options::Delete;
use crate::server::Server;
use crate::status::ApiError;
use crate::store::Range;
use crate::write::{Target, parse};

/// How long an event is kept: `--event-ttl` of kube-apiserver.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// Between two looks, so that events that were told one after another go together.
const PAUSE: Duration = Duration::from_secs(60);

impl Server {
    /// Deletes the events whose time has come. Answers when the next one's will; None if there is none.
    pub(super) async fn expire_events(&self) -> Result<Option<Duration>, ApiError> {
        let Some(served) = self.find("", "v1", "events") else { return Ok(None) };
        let now = Timestamp::now();
        let (mut next, mut after) = (None, None);
        loop {
            let range = Range { after: after.take(), limit: Some(PAGE), ..Range::default() };
            let page = self.store.list(&served.stored_as, None, range).await.map_err(ApiError::internal)?;
            for stored in &page.objects {
                let left = LIFE.saturating_sub(age(&parse(stored)?, now));
                if left > Duration::ZERO {
                    next = Some(next.map_or(left, |next: Duration| next.min(left)));
                    continue;
                }
                let target = Target {
                    served,
                    namespace: &stored.key.namespace,
                    name: &stored.key.name,
                    subresource: "",
                };
                absent_is_fine(self.delete(target, &Delete::default()).await.map(drop))?;
            }
            after =
                page.objects.last().map(|last| (last.key.namespace.to_string(), last.key.name.to_string()));
            if !page.more {
                return Ok(next.map(|next| next.max(PAUSE)));
            }
        }
    }
}

/// Since the event was last told. One from the future, of a clock that was set back, is new.
fn age(event: &Value, now: Timestamp) -> Duration {
    let told = [
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.pointer("/series/lastObservedTime"),
        object::meta(event, "creationTimestamp"),
    ];
    let told = told
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter_map(|text| text.parse::<Timestamp>().ok());
    told.max().and_then(|told| Duration::try_from(now.duration_since(told)).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_as_old_as_what_it_told_last() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let cases = [
            (json!({"metadata": {"creationTimestamp": "2026-01-01T11:00:00Z"}}), 3600),
            (
                json!({"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}, "lastTimestamp": "2026-01-01T11:59:00Z"}),
                60,
            ),
            (
                json!({"metadata": {}, "series": {"lastObservedTime": "2026-01-01T11:58:00.5Z"}, "eventTime": null}),
                119,
            ),
            (json!({"metadata": {"creationTimestamp": "2027-01-01T10:00:00Z"}}), 0),
            (json!({"metadata": {}}), 0),
        ];
        for (event, seconds) in cases {
            assert_eq!(age(&event, now).as_secs(), seconds, "{event}");
        }
    }
}
