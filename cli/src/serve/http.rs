//! The thread that talks with clients: it accepts connections and never computes.

use super::App;
use super::connections::{Connections, Patient};
use super::routes::answer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rasp::{Error, Result, Status};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// The head of a request has to be there after so long; so is a connection closed that asks for nothing.
pub const HEAD_TIME: Duration = Duration::from_secs(30);

/// Bytes of a request's head at most.
pub const MAX_HEAD: usize = 32 << 10;

/// Threads that prepare requests: texts become tokens there.
const PREPARING: usize = 2;

/// Accepts connections until the process ends.
pub fn run(listener: TcpListener, app: Arc<App>) -> Result<()> {
    let failed = |what: &str, e: std::io::Error| Error::new(Status::Io, format!("cannot {what}: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(PREPARING)
        .build()
        .map_err(|e| failed("wait for clients", e))?;
    runtime.block_on(async {
        listener.set_nonblocking(true).map_err(|e| failed("listen", e))?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(|e| failed("listen", e))?;
        let connections = Connections::default();
        for id in 0.. {
            match listener.accept().await {
                Ok((stream, _)) => take(&connections, id, stream, &app),
                // Too many files are open, or the client has gone already: others go on.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        Ok(())
    })
}

/// Starts what answers a connection's requests. Where all are at work it is closed.
fn take(connections: &Connections, id: u64, stream: TcpStream, app: &Arc<App>) {
    let Some(entry) = connections.enter(id) else { return };
    // Pieces of an answer are small and should not wait for each other.
    let _ = stream.set_nodelay(true);
    let app = app.clone();
    let service = service_fn(move |request| answer(app.clone(), entry.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let task = tokio::spawn(async move {
        // A client that goes, or is given up, is no error of ours.
        let _ = connection.await;
    });
    connections.started(id, task.abort_handle());
}
