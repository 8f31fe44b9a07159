//! Connections: how many there may be, which of them are idle, and how long a client may take.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};

/// The most connections. When there is another, the one that has been idle longest is closed.
pub const MAX_CONNECTIONS: usize = 512;

/// A client that takes no byte for so long is given up.
pub const WRITE_TIME: Duration = Duration::from_secs(30);

/// All connections.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<u64, Connection>>>);

struct Connection {
    task: Option<AbortHandle>,
    /// `None` while a request is being answered.
    idle_since: Option<Instant>,
}

/// One of them, which is forgotten when this is dropped.
pub struct ConnectionGuard {
    all: Connections,
    id: u64,
}

/// A request of it that is being answered.
pub struct Busy(Arc<ConnectionGuard>);

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, if there is room or one is idle.
    pub fn enter(&self, id: u64) -> Option<Arc<ConnectionGuard>> {
        let mut all = self.lock();
        if all.len() >= MAX_CONNECTIONS {
            let idle = all.iter().filter_map(|(&id, connection)| Some((connection.idle_since?, id)));
            let (_, longest) = idle.min()?;
            if let Some(task) = all.remove(&longest).and_then(|connection| connection.task) {
                task.abort();
            }
        }
        all.insert(id, Connection { task: None, idle_since: Some(Instant::now()) });
        Some(Arc::new(ConnectionGuard { all: self.clone(), id }))
    }

    /// What ends it.
    pub fn started(&self, id: u64, task: AbortHandle) {
        if let Some(connection) = self.lock().get_mut(&id) {
            connection.task = Some(task);
        }
    }

    fn set(&self, id: u64, idle_since: Option<Instant>) {
        if let Some(connection) = self.lock().get_mut(&id) {
            connection.idle_since = idle_since;
        }
    }
}

impl ConnectionGuard {
    /// From now on it is not idle, until the mark is dropped.
    pub fn busy(self: &Arc<ConnectionGuard>) -> Busy {
        self.all.set(self.id, None);
        Busy(self.clone())
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.all.set(self.0.id, Some(Instant::now()));
    }
}

/// A client's stream, whose writes fail when none of their bytes is taken for too long.
pub struct Patient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub fn new(stream: TcpStream) -> Patient {
        Patient { stream, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_one_makes_room() {
        let all = Connections::default();
        let mut entries: Vec<_> = (0..MAX_CONNECTIONS as u64).map(|id| all.enter(id).unwrap()).collect();
        let busy = entries[0].busy();
        let more = all.enter(1000).unwrap();
        {
            let known = all.lock();
            assert_eq!(known.len(), MAX_CONNECTIONS);
            assert!(known.contains_key(&0) && !known.contains_key(&1), "the first is at work, the second was idle");
        }
        // When all are at work there is no room.
        let marks: Vec<_> = entries.iter().chain([&more]).map(ConnectionGuard::busy).collect();
        assert!(all.enter(1001).is_none());
        drop((marks, busy));
        entries.clear();
        drop(more);
        assert!(all.lock().is_empty());
    }
}
