//! Bodies: of requests, within limits of size and time; of responses, whole or as a stream.

use super::connections::Busy;
use super::error::{ApiError, ApiResult};
use super::generation::Event;
use super::reply::ResponseWriter;
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Bytes of a request's body at most.
pub const MAX_BODY: usize = 8 << 20;

/// Bytes of all bodies together that are not understood yet, so that many clients take no more.
const MAX_BODIES: usize = 64 << 20;

/// A body has to be there after so long.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// Bytes of those.
static BODIES: AtomicUsize = AtomicUsize::new(0);

/// A body so far, counted as long as it lasts.
#[derive(Default)]
pub struct Counted(Vec<u8>);

impl Counted {
    fn push(&mut self, bytes: &[u8]) -> ApiResult<()> {
        if self.0.len() + bytes.len() > MAX_BODY {
            return Err(too_large());
        }
        self.0.extend_from_slice(bytes);
        if BODIES.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > MAX_BODIES {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many bodies at once: try again"));
        }
        Ok(())
    }
}

impl std::ops::Deref for Counted {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {MAX_BODY} bytes"))
}

impl Drop for Counted {
    fn drop(&mut self) {
        BODIES.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// Reads a request's body.
pub async fn read(mut body: Incoming) -> ApiResult<Counted> {
    let mut read = Counted::default();
    // One that says beforehand that it is too large is not begun.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let all = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| ApiError::bad("the body ends before it should"))?;
            if let Some(data) = frame.data_ref() {
                read.push(data)?;
            }
        }
        Ok::<(), ApiError>(())
    };
    match timeout(BODY_TIME, all).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            let message = format!("the body was not there after {} seconds", BODY_TIME.as_secs());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    }
    Ok(read)
}

/// What a response has, and the mark of its connection, which is idle when it has gone.
pub struct Response {
    content: Content,
    _busy: Option<Busy>,
}

enum Content {
    Whole(Option<Bytes>),
    /// What is to be sent first, then what comes of the answers.
    Stream {
        first: Option<Bytes>,
        reply: Box<ResponseWriter>,
        events: Receiver<Event>,
        over: bool,
    },
}

impl Response {
    pub fn whole(bytes: Vec<u8>, busy: Option<Busy>) -> Response {
        Response { content: Content::Whole(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty())), _busy: busy }
    }

    pub fn stream(reply: ResponseWriter, events: Receiver<Event>, busy: Option<Busy>) -> Response {
        let first = Some(Bytes::from(reply.first_events())).filter(|bytes| !bytes.is_empty());
        Response { content: Content::Stream { first, reply: Box::new(reply), events, over: false }, _busy: busy }
    }
}

impl Body for Response {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match &mut self.content {
            Content::Whole(bytes) => bytes.take().map_or(Poll::Ready(None), frame),
            Content::Stream { first, reply, events, over } => {
                if let Some(first) = first.take() {
                    return frame(first);
                }
                while !*over {
                    let came = ready!(events.poll_recv(cx));
                    let (bytes, last) = reply.events(came);
                    *over = last;
                    if !bytes.is_empty() {
                        return frame(bytes.into());
                    }
                }
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Stream { .. } => SizeHint::default(),
        }
    }
}
