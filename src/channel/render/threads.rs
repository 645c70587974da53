//! Threads of a known stack for work on texts: those that serve requests and deliveries go on meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Of each thread. Reading and filling in a template takes a few kB of it, however deep the template nests.
pub(super) const STACK: usize = 4 << 20;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too much is waiting already; nothing was begun.
    #[error("too many texts are being checked right now")]
    Busy,
    /// It ended in a panic, which the log tells.
    #[error("checking the text failed")]
    Failed,
}

type Work = Box<dyn FnOnce() + Send>;

/// A few threads with a bounded queue before them. They start with the first piece of work, and end when this is dropped.
pub(super) struct Threads {
    name: &'static str,
    count: usize,
    room: Arc<Semaphore>,
    queue: OnceLock<mpsc::Sender<Work>>,
}

impl Threads {
    /// `count` threads, before which at most `waiting` pieces of work wait.
    pub fn new(name: &'static str, count: usize, waiting: usize) -> Self {
        Self {
            name,
            count,
            room: Arc::new(Semaphore::new(count + waiting)),
            queue: OnceLock::new(),
        }
    }

    /// Nobody is let in at the moment.
    #[cfg(test)]
    pub fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    /// Does a piece of work, unless too many wait already.
    pub async fn try_run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let place = self.room.clone().try_acquire_owned();
        self.run_in(place.map_err(|_| Unanswered::Busy)?, work)
            .await
    }

    /// Does a piece of work, once there is room for it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let place = self.room.clone().acquire_owned().await;
        self.run_in(place.map_err(|_| Unanswered::Failed)?, work)
            .await
    }

    async fn run_in<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let work = move || {
            // Whoever asked may have gone; then nothing needs doing.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
            drop(place);
        };
        let queue = self.queue.get_or_init(|| self.start());
        queue.send(Box::new(work)).map_err(|_| Unanswered::Failed)?;
        answered.await.map_err(|_| Unanswered::Failed)
    }

    fn start(&self) -> mpsc::Sender<Work> {
        let (queue, work) = mpsc::channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for _ in 0..self.count {
            let work = work.clone();
            let thread = thread::Builder::new()
                .name(self.name.to_owned())
                .stack_size(STACK);
            let begun = thread.spawn(move || serve(&work));
            if let Err(error) = begun {
                tracing::error!("A thread for texts cannot be started: {error}");
            }
        }
        queue
    }
}

fn serve(work: &Mutex<mpsc::Receiver<Work>>) {
    loop {
        // The lock is held while waiting and let go before working.
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(next) = next else { return };
        // The hook has told of a panic; who asked is told by the answer that does not come.
        let _ = catch_unwind(AssertUnwindSafe(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[tokio::test]
    async fn what_has_no_room_is_refused_and_what_waits_is_done() {
        let threads = Arc::new(Threads::new("test", 2, 3));
        let held = Arc::new(Barrier::new(3));
        let mut begun = Vec::new();
        for _ in 0..2 {
            let (threads, held) = (threads.clone(), held.clone());
            begun.push(tokio::spawn(async move {
                threads.try_run(move || held.wait().is_leader()).await
            }));
        }
        for number in 0..3 {
            let threads = threads.clone();
            begun.push(tokio::spawn(async move {
                threads.try_run(move || number > 5).await
            }));
        }
        while !threads.is_full() {
            tokio::task::yield_now().await;
        }
        assert_eq!(threads.try_run(|| ()).await, Err(Unanswered::Busy));
        // Who may wait does.
        let patient = threads.clone();
        begun.push(tokio::spawn(async move { patient.run(|| true).await }));
        let release = tokio::task::spawn_blocking(move || held.wait());
        release.await.unwrap();
        for one in begun {
            assert!(one.await.unwrap().is_ok());
        }
        assert_eq!(threads.try_run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_ends_one_piece_of_work_and_no_thread() {
        let threads = Threads::new("test", 1, 1);
        for _ in 0..3 {
            let failed = threads
                .try_run(|| std::panic::panic_any("on purpose"))
                .await;
            assert_eq!(failed, Err::<(), _>(Unanswered::Failed));
            // The place is free again.
            assert_eq!(threads.run(|| 7).await, Ok(7));
        }
    }
}
