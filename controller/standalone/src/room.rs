//! How much memory answers may take that wait to be read. A client that asks and does not read is not to have all of it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::{ApiError, Details};

/// All large answers together, in KiB: a dozen lists of everything that a full store of a small site holds.
const ROOM_KIB: u32 = 256 << 10;
/// Answers below this size are not counted: there are at most as many as connections and streams.
const SMALL: usize = 256 << 10;
/// A large answer is handed out in pieces of this size, so that it is held here and not by the connection.
const PIECE: usize = 64 << 10;

/// The room of all answers.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

/// A part of the room; given back when dropped.
#[derive(Debug)]
pub struct Taken(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB as usize)))
    }
}

impl Room {
    /// Takes room for an answer of so many bytes. Without enough of it the client is to come again.
    pub fn take(&self, bytes: usize) -> Result<Taken, ApiError> {
        if bytes < SMALL {
            return Ok(Taken(None));
        }
        // One that is larger than the whole room takes all of it.
        let kib = u32::try_from(bytes / 1024).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        let permit = self.0.clone().try_acquire_many_owned(kib).map_err(|_| {
            let message = "too many large answers wait to be read: ask again, or for less at once with limit and continue";
            ApiError::new(429, "TooManyRequests", message).with(Details { retry_after_seconds: 1, ..Details::default() })
        })?;
        Ok(Taken(Some(permit)))
    }
}

/// A body that gives its room back when its last piece was taken.
pub fn body(text: Bytes, room: Taken) -> Body {
    if text.len() < SMALL {
        return Body::from(text);
    }
    Body::from_stream(unfold((text, room), |(mut text, room)| async move {
        if text.is_empty() {
            return None;
        }
        let piece = text.split_to(text.len().min(PIECE));
        Some((Ok::<_, Infallible>(piece), (text, room)))
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn room_is_given_back_when_an_answer_was_read() {
        let room = Room::default();
        let text = Bytes::from(vec![b'x'; 200 << 20]);
        let first = body(text.clone(), room.take(text.len()).unwrap());
        assert_eq!(room.take(text.len()).unwrap_err().code, 429);
        assert!(room.take(1000).is_ok(), "small answers always have room");
        assert_eq!(first.collect().await.unwrap().to_bytes(), text);
        assert!(room.take(text.len()).is_ok());
    }
}
