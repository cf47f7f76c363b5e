//! The road of commands to Redis: one connection, commands in the order they were handed in, many in one write.
//!
//! ```text
//!   ask ─▶ queue (bounded in bytes) ─▶ what is there, so many at most ─▶ one write, one read ─▶ answers
//! ```
//!
//! What is handed in while a batch is under way is the next one, so a busy lane groups by itself. A batch whose answers do
//! not come has an unknown outcome and ends the connection; while there is none, what waits is refused, certainly not
//! done. Functions that a new master does not know are loaded, and what needed them is asked again, in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, Pipeline, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::functions::{Functions, UNKNOWN_FUNCTION};
use crate::pause::{Pause, Reach};
use crate::place::{ANSWER_WITHIN, Place, Stay};

/// Publishes in one write.
pub(crate) const PUBLISHES: usize = 256;
/// Reads in one write: each may be answered by a page.
pub(crate) const READS: usize = 32;
/// Commands that wait.
const QUEUE_MAX: usize = 16_384;
/// Bytes of commands that wait or are under way.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Certainly not done: there is no connection, or too much waits.
    NotDone,
    /// It may have been done.
    Unknown,
    /// Redis refused, with this code.
    Refused(String),
}

type Answer = Result<Value, Silence>;

struct Job {
    command: Cmd,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

/// A lane. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Lane {
    jobs: mpsc::Sender<Job>,
    bytes: Arc<AtomicUsize>,
}

impl Lane {
    /// A lane and what carries its commands until it is told to stop.
    pub(crate) fn new(
        place: Arc<Place>,
        functions: Arc<Functions>,
        reach: Arc<Reach>,
        batch: usize,
    ) -> (Self, Carrier) {
        let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        (Self { jobs, bytes: Arc::clone(&bytes) }, Carrier { place, functions, reach, batch, waiting, bytes })
    }

    /// Hands a command in, now; the answer comes later. Commands are done in the order of these calls.
    pub(crate) fn ask(&self, command: Cmd) -> impl Future<Output = Answer> + Send + use<> {
        let bytes = command.args_iter().map(size).sum::<usize>() + 64;
        let (answer, answered) = oneshot::channel();
        let fits = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUE_BYTES_MAX;
        let taken = fits && self.jobs.try_send(Job { command, bytes, answer }).is_ok();
        if !taken {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        async move { if taken { answered.await.unwrap_or(Err(Silence::Unknown)) } else { Err(Silence::NotDone) } }
    }
}

fn size(argument: redis::Arg<&[u8]>) -> usize {
    match argument {
        redis::Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    }
}

/// What ends a connection.
pub(crate) struct Line {
    /// It was lost.
    ended: CancellationToken,
    /// The master is elsewhere.
    stay: Stay,
}

impl Line {
    /// A connection, and what says that it has ended: also one that nobody uses tells so.
    pub(crate) async fn open(place: &Place, functions: &Functions) -> RedisResult<(MultiplexedConnection, Self)> {
        let ended = CancellationToken::new();
        let ends = ended.clone();
        let push = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ends.cancel();
            }
            Ok::<(), ()>(())
        };
        let (mut connection, stay) = place.connect(push).await?;
        functions.begin(&mut connection).await?;
        Ok((connection, Self { ended, stay }))
    }

    /// Waits until it has ended.
    pub(crate) async fn is_over(&mut self) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = self.stay.is_over() => {}
        }
    }
}

/// Carries the commands of a lane.
pub(crate) struct Carrier {
    place: Arc<Place>,
    functions: Arc<Functions>,
    reach: Arc<Reach>,
    /// Commands in one write.
    batch: usize,
    waiting: mpsc::Receiver<Job>,
    bytes: Arc<AtomicUsize>,
}

impl Carrier {
    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        // Whatever is under way then has an unknown outcome, which whoever asked is told.
        let _stopped = stop.run_until_cancelled(self.carry_for_ever()).await;
    }

    async fn carry_for_ever(&mut self) {
        let mut pause = Pause::new();
        loop {
            let connected = Line::open(&self.place, &self.functions).await;
            let (mut connection, mut line) = match connected {
                Ok(connected) => connected,
                Err(error) => {
                    if pause.is_fresh() {
                        warn!(%error, "Redis cannot be reached; what is asked of it is refused");
                    } else {
                        debug!(%error, "Redis cannot be reached yet");
                    }
                    self.refuse_waiting();
                    pause.wait(&self.reach).await;
                    continue;
                }
            };
            if !pause.is_fresh() {
                info!("Redis is reached again");
            }
            pause = Pause::new();
            let _counted = self.reach.connected();
            if let Err(error) = self.carry(&mut connection, &mut line).await {
                warn!(%error, "a connection to Redis failed");
            }
        }
    }

    /// Tells those who wait that nothing was done.
    fn refuse_waiting(&mut self) {
        while let Ok(job) = self.waiting.try_recv() {
            self.answer(job, Err(Silence::NotDone));
        }
    }

    /// Carries commands until the connection ends. What waits then is for the next one.
    async fn carry(&mut self, connection: &mut MultiplexedConnection, line: &mut Line) -> RedisResult<()> {
        let mut batch = Vec::with_capacity(self.batch);
        loop {
            tokio::select! {
                biased;
                () = line.is_over() => return Ok(()),
                count = self.waiting.recv_many(&mut batch, self.batch) => if count == 0 {
                    // Nobody can ask any more: what is left is to be told to stop.
                    std::future::pending::<()>().await;
                },
            }
            let mut answers = match exchange(connection, &batch).await {
                Ok(answers) => answers,
                Err(error) => {
                    for job in batch.drain(..) {
                        self.answer(job, Err(Silence::Unknown));
                    }
                    return Err(error);
                }
            };
            if answers.iter().any(is_unknown_function) {
                match self.again(connection, &batch, &mut answers).await {
                    Ok(()) => {}
                    Err(error) => debug!(%error, "the functions cannot be loaded"),
                }
            }
            let is_replica = answers.iter().any(is_replicas);
            for (job, answer) in batch.drain(..).zip(answers) {
                self.answer(job, answer);
            }
            if is_replica {
                // It was a master when the connection began; another is one now.
                return Ok(());
            }
        }
    }

    /// Loads the functions, and asks again what needed them.
    async fn again(
        &self,
        connection: &mut MultiplexedConnection,
        batch: &[Job],
        answers: &mut [Answer],
    ) -> RedisResult<()> {
        self.functions.load(connection).await?;
        // One by one: this is rare, and the order stays.
        for (job, answer) in batch.iter().zip(answers).filter(|(_, answer)| is_unknown_function(answer)) {
            let told = exchange(connection, std::slice::from_ref(job)).await;
            *answer = told.map_or(Err(Silence::Unknown), |mut one| one.pop().unwrap_or(Err(Silence::Unknown)));
        }
        Ok(())
    }

    fn answer(&self, job: Job, answer: Answer) {
        self.bytes.fetch_sub(job.bytes, Ordering::Relaxed);
        // Whoever asked may have gone.
        let _ = job.answer.send(answer);
    }
}

/// Writes commands and reads their answers.
async fn exchange(connection: &mut MultiplexedConnection, jobs: &[Job]) -> RedisResult<Vec<Answer>> {
    let mut pipeline = Pipeline::with_capacity(jobs.len());
    for job in jobs {
        pipeline.add_command(job.command.clone());
    }
    let values = timeout(ANSWER_WITHIN, connection.req_packed_commands(&pipeline, 0, jobs.len()))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(values.into_iter().map(judged).collect())
}

/// An error of one command is its answer, and nobody else's.
pub(crate) fn judged(value: Value) -> Answer {
    match value {
        Value::ServerError(error) => {
            debug!(code = error.code(), detail = error.details(), "Redis refused");
            let is_unknown = error.details().is_some_and(|detail| detail.contains(UNKNOWN_FUNCTION));
            Err(Silence::Refused(if is_unknown { UNKNOWN_FUNCTION.to_owned() } else { error.code().to_owned() }))
        }
        value => Ok(value),
    }
}

fn is_unknown_function(answer: &Answer) -> bool {
    matches!(answer, Err(Silence::Refused(code)) if code == UNKNOWN_FUNCTION)
}

/// Whether it was a replica that was asked.
fn is_replicas(answer: &Answer) -> bool {
    matches!(answer, Err(Silence::Refused(code)) if code == "READONLY")
}
