//! The body of a response on its way out: keeps its connection from being idle, and ends a stream when the server does.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::connection::Busy;

/// A body with what it holds until it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    inner: Body,
    /// Of a stream, such as a watch, whose length nobody knows: it may end at any time.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _busy: Busy,
}

impl Outgoing {
    pub(super) fn body(inner: Body, busy: Busy, stop: &CancellationToken) -> Body {
        let is_stream = inner.size_hint().exact().is_none();
        let stop = is_stream.then(|| Box::pin(stop.clone().cancelled_owned()));
        Body::new(Self { inner, stop, _busy: busy })
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        // What is ready is sent first: an event that was stored is not lost to the end.
        if frame.is_pending() && self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready())
        {
            return Poll::Ready(None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
