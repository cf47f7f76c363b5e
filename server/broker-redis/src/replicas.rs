//! Waits until replicas have what was appended: one wait at a time, for all that was appended before it began.
//!
//! ```text
//!   appended ─▶ queue ─▶ ff_mark, WAIT (one write, a connection of its own) ─▶ the same data set, and enough replicas? ─▶ replicated
//! ```
//!
//! What is appended while a wait is under way is in the next one, so waits group by themselves, and publishes that ask for
//! no replica never stand behind one. Replicas have what was written before the mark once they have the mark (Redis, `WAIT`);
//! the mark's answer says of which data set that is, as a master that was promoted meanwhile need not have the append.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::functions::Functions;
use crate::lane::Line;
use crate::place::Place;

/// How long replicas may take, in milliseconds.
const WAIT_MS: u64 = 1_000;
/// Appends that wait for replicas. One more is not waited for.
const WAITING_MAX: usize = 16_384;
/// Of them in one wait.
const GROUP_MAX: usize = 4_096;

/// An append that waits.
struct Asked {
    /// The data set that it was made in.
    nonce: u32,
    answer: oneshot::Sender<bool>,
}

/// What replicas have.
#[derive(Clone)]
pub(crate) struct Replicas {
    asked: mpsc::Sender<Asked>,
    unconfirmed: Arc<AtomicU64>,
}

impl Replicas {
    /// What replicas have, where so many count, and what waits for them.
    pub(crate) fn new(place: Arc<Place>, functions: Arc<Functions>, wanted: NonZeroU8) -> (Self, Waiter) {
        let (asked, waiting) = mpsc::channel(WAITING_MAX);
        let waiter = Waiter { place, functions, wanted: wanted.get(), waiting, line: None, is_doubtful: false };
        (Self { asked, unconfirmed: Arc::default() }, waiter)
    }

    /// Waits until replicas have everything that was appended to this data set until now; whether they do.
    pub(crate) async fn have(&self, nonce: u32) -> bool {
        let (answer, answered) = oneshot::channel();
        let has = self.asked.try_send(Asked { nonce, answer }).is_ok() && answered.await.unwrap_or(false);
        if !has {
            self.unconfirmed.fetch_add(1, Ordering::Relaxed);
        }
        has
    }

    /// Appends that no replica confirmed in time.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.unconfirmed.load(Ordering::Relaxed)
    }
}

/// Waits for replicas.
pub(crate) struct Waiter {
    place: Arc<Place>,
    functions: Arc<Functions>,
    wanted: u8,
    waiting: mpsc::Receiver<Asked>,
    line: Option<(MultiplexedConnection, Line)>,
    /// The last wait was in vain: whether there are replicas at all is asked first.
    is_doubtful: bool,
}

impl Waiter {
    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.wait_for_ever()).await;
    }

    async fn wait_for_ever(&mut self) {
        let mut group = Vec::new();
        loop {
            let line = &mut self.line;
            let ended = async {
                match line {
                    Some((_, line)) => line.is_over().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = ended => {
                    self.line = None;
                    continue;
                }
                count = self.waiting.recv_many(&mut group, GROUP_MAX) => if count == 0 {
                    // Nobody can ask any more: what is left is to be told to stop.
                    std::future::pending::<()>().await;
                },
            }
            let had = self.wait().await.unwrap_or_else(|error| {
                if self.is_doubtful {
                    debug!(%error, "replicas cannot be asked for yet");
                } else {
                    // Which may be for good, as where the user has no right to `WAIT`.
                    warn!(%error, "replicas cannot be asked for");
                }
                self.line = None;
                None
            });
            if self.is_doubtful != had.is_none() {
                self.is_doubtful = had.is_none();
                if self.is_doubtful {
                    warn!(wanted = self.wanted, "replicas do not confirm what is appended to Redis");
                } else {
                    info!("replicas confirm what is appended to Redis again");
                }
            }
            for Asked { nonce, answer } in group.drain(..) {
                // Whoever asked may have gone.
                let _ = answer.send(had == Some(nonce));
                if had.is_some_and(|had| had != nonce) {
                    // It leads to another data set than that of the lanes; which is right is for `begin` to say.
                    self.line = None;
                }
            }
        }
    }

    /// Of which data set replicas have everything now; of none where they do not say so in time.
    async fn wait(&mut self) -> RedisResult<Option<u32>> {
        let (connection, _) = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::open(&self.place, &self.functions).await?),
        };
        let mut mark = self.functions.mark();
        if self.is_doubtful {
            let (_, replicas): (u32, u64) = mark.clone().arg("1").query_async(connection).await?;
            if replicas < self.wanted.into() {
                return Ok(None);
            }
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(mark.arg("0").clone()).cmd("WAIT").arg(self.wanted).arg(WAIT_MS);
        let ((nonce, _), replicas): ((u32, u64), u64) = pipeline.query_async(connection).await?;
        Ok((replicas >= self.wanted.into()).then_some(nonce))
    }
}
