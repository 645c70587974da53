//! This process, as the other workers see it: a name that is a lease, a heartbeat, and a listener for notifications.
//!
//! One per process, shared by all its queues: one row in `apalis.workers`, one connection that listens, one rescue of the
//! rows of dead workers. The name is new at every start. A process that came back under its old name would keep the lease
//! of its former life alive, and what that life held would never be rescued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use unread_clock::{Backoff, Clock};

use super::{JobRun, QueueConfig, rows, work};

/// Dropping it (or the process) without [`WorkerProcess::leave`] is a crash to the others: they take its rows when the lease ends.
pub struct WorkerProcess {
    pub(super) shared: Arc<Shared>,
    heartbeat: AbortOnDropHandle<()>,
    listening: AbortOnDropHandle<()>,
}

/// What the tasks of a process have in common.
pub(super) struct Shared {
    pub pool: PgPool,
    pub clock: Clock,
    pub name: String,
    pub lease: Duration,
    pub links: Links,
    notifiers: Mutex<HashMap<String, Arc<Notify>>>,
    /// Whether `apalis.workers` knows the name: rows taken in an unknown name count as lost.
    registered: watch::Sender<bool>,
}

impl WorkerProcess {
    /// Starts the heartbeat; works, and keeps trying, while the database is away.
    ///
    /// `role` is for people who look at the tables. A worker that has not been heard of for `lease` has lost its rows to
    /// the others: at least a few seconds, more than any pause of the database that should go unnoticed.
    pub fn start(pool: PgPool, clock: Clock, role: &str, lease: Duration) -> Self {
        let shared = Arc::new(Shared {
            pool,
            clock,
            name: format!("{role}-{}", ulid::Ulid::generate()),
            lease,
            links: Links::default(),
            notifiers: Mutex::default(),
            registered: watch::Sender::new(false),
        });
        let heartbeat = AbortOnDropHandle::new(tokio::spawn(keep_alive(shared.clone())));
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(shared.clone())));
        Self {
            shared,
            heartbeat,
            listening,
        }
    }

    /// Works on one queue until `shutdown`; then takes nothing new, lets running jobs finish within
    /// [`QueueConfig::drain`] and hands the rest back. Runs through every failure of the database.
    ///
    /// `Ok` from the handler means: this job is done with. An error, a panic or an overrun deadline burns an attempt
    /// and is tried again later, with back-off; see [`super::Discard`] and [`super::MAX_ATTEMPTS`].
    pub async fn run<F, Fut>(&self, config: QueueConfig, handler: F, shutdown: CancellationToken)
    where
        F: Fn(JobRun) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let mut registered = self.shared.registered.subscribe();
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = registered.wait_for(|known| *known) => {}
        }
        work::run(self.shared.clone(), config, handler, shutdown).await;
    }

    /// The name under which rows are held.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Whether work can be taken and its results be written at the moment.
    pub fn healthy(&self) -> bool {
        *self.shared.registered.borrow() && self.shared.links.all_up()
    }

    /// Signs off, after every [`WorkerProcess::run`] has returned.
    pub async fn leave(self) {
        self.listening.abort();
        self.heartbeat.abort();
        // A last heartbeat must not come after the sign-off.
        let _ = self.heartbeat.await;
        let Shared {
            pool, name, lease, ..
        } = &*self.shared;
        if let Err(error) = rows::remove_workers(pool, Some(name), *lease).await {
            warn!("The worker {name} could not sign off; its row goes away later: {error}");
        }
    }
}

impl Shared {
    /// What is notified when a queue may have got something to do.
    pub fn notifier(&self, queue: &str) -> Arc<Notify> {
        let mut notifiers = self
            .notifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        notifiers.entry(queue.to_owned()).or_default().clone()
    }

    fn notify(&self, queue: &str) {
        let notifiers = self
            .notifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(notifier) = notifiers.get(queue) {
            notifier.notify_one();
        }
    }

    fn notify_all(&self) {
        let notifiers = self
            .notifiers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        notifiers
            .values()
            .for_each(|notifier| notifier.notify_one());
    }
}

/// Heartbeat, rescue of lost rows and removal of dead workers, for as long as the process lives.
async fn keep_alive(process: Arc<Shared>) {
    let Shared {
        pool,
        clock,
        name,
        lease,
        links,
        ..
    } = &*process;
    let mut delay = AWAY;
    loop {
        let beat = async {
            rows::heartbeat(pool, name).await?;
            process.registered.send_replace(true);
            let rescued = rows::rescue(pool, *lease, clock.now()).await?;
            if rescued > 0 {
                warn!("{rescued} jobs of lost workers will run again");
                process.notify_all();
            }
            rows::remove_workers(pool, None, *lease).await
        };
        let pause = match beat.await {
            Ok(()) => {
                links.up(Link::Heartbeat);
                delay.reset();
                *lease / 3
            }
            Err(error) => {
                links.down(Link::Heartbeat, &error);
                delay.pause().min(*lease / 3)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Notifies when something is scheduled, for as long as the process lives. Only a short cut: whoever waits for
/// it also looks by itself, every [`QueueConfig::poll`].
async fn listen(process: Arc<Shared>) {
    let mut delay = AWAY;
    loop {
        if let Err(error) = listen_once(&process, &mut delay).await {
            process.links.down(Link::Listen, &error);
        }
        tokio::time::sleep(delay.pause()).await;
    }
}

async fn listen_once(process: &Shared, delay: &mut Backoff) -> sqlx::Result<()> {
    // A pool of its own: the connection is taken for good, and the program's pool shall not be one short per process.
    let options = (*process.pool.connect_options()).clone();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(rows::CHANNEL).await?;
    loop {
        // Whatever was said while nobody listened is lost: look everywhere.
        process.notify_all();
        process.links.up(Link::Listen);
        delay.reset();
        while let Some(notification) = listener.try_recv().await? {
            process.notify(notification.payload());
        }
    }
}

/// What needs the database, each on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Link {
    Heartbeat,
    /// Not needed, only faster.
    Listen,
    Fetch,
    Settle,
}

/// Which links are down, and since when. Logs once when one goes down and once when it is back, not at every try.
#[derive(Default)]
pub(super) struct Links(Mutex<HashMap<Link, Instant>>);

impl Links {
    pub fn down(&self, link: Link, error: &sqlx::Error) {
        let mut down = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        down.entry(link).or_insert_with(|| {
            warn!("The queue's {link:?} does not reach the database; trying again until it does: {error}");
            Instant::now()
        });
    }

    pub fn up(&self, link: Link) {
        let mut down = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = down.remove(&link) {
            info!(
                "The queue's {link:?} is back after {:.1} s",
                since.elapsed().as_secs_f64()
            );
        }
    }

    fn all_up(&self) -> bool {
        let down = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        down.keys().all(|link| *link == Link::Listen)
    }
}

/// Pauses between tries while the database is away.
pub(super) const AWAY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
