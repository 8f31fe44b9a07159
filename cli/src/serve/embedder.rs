//! Texts as vectors: one after the other, in a session and a thread of their own, so that no answer waits for them.

use super::error::{ApiError, ApiResult};
use crate::adapter::ScaledAdapters;
use crate::answer::SessionArgs;
use hyper::StatusCode;
use rasp::session::Pooling;
use rasp::{Error, Model, Result, Session, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// Texts of one request.
struct EmbeddingOrder {
    texts: Vec<Vec<u32>>,
    /// Set when nobody waits for it any more.
    cancel: Arc<AtomicBool>,
    reply: oneshot::Sender<ApiResult<Vec<Vec<f32>>>>,
}

/// Where texts are handed in.
#[derive(Clone)]
pub struct Embedder {
    orders: Sender<EmbeddingOrder>,
}

/// Cancels what nobody waits for.
struct Wait(Arc<AtomicBool>);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Embedder {
    /// Starts the thread; its session opens with the first text.
    pub fn start(
        model: Arc<Model>,
        settings: SessionArgs,
        adapters: ScaledAdapters,
        context: usize,
        pooling: Pooling,
    ) -> Result<Embedder> {
        let (orders, received) = channel();
        let open = move || settings.open(&model, context, &adapters);
        let work = move || run(&open, pooling, &received);
        let started = std::thread::Builder::new().name("embeddings".into()).spawn(work);
        started.map_err(|e| Error::new(Status::Io, format!("cannot start a thread for embeddings: {e}")))?;
        Ok(Embedder { orders })
    }

    /// The vectors, each of length 1.
    pub async fn embed(&self, texts: Vec<Vec<u32>>) -> ApiResult<Vec<Vec<f32>>> {
        let gone = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the thread of the embeddings has ended");
        let (reply, replied) = oneshot::channel();
        let cancel = Arc::new(AtomicBool::new(false));
        let _wait = Wait(cancel.clone());
        self.orders.send(EmbeddingOrder { texts, cancel, reply }).map_err(|_| gone())?;
        replied.await.map_err(|_| gone())?
    }
}

fn run(open: &dyn Fn() -> Result<Session>, pooling: Pooling, orders: &Receiver<EmbeddingOrder>) {
    let mut opened: Option<Session> = None;
    while let Ok(EmbeddingOrder { texts, cancel, reply }) = orders.recv() {
        if reply.is_closed() {
            continue;
        }
        let outcome = match opened.take().map_or_else(open, Ok) {
            Err(error) => Err(error),
            Ok(mut session) => {
                session.set_cancel_flag(cancel);
                let embed = |text: Vec<u32>| session.embed(&text, pooling, true).map(<[f32]>::to_vec);
                let outcome = texts.into_iter().map(embed).collect();
                opened = Some(session);
                outcome
            }
        };
        // Nobody may wait for it any more.
        let _ = reply.send(outcome.map_err(ApiError::from));
    }
}
