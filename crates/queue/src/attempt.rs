//! One run of a handler, and what its failure means. Knows neither rows nor apalis.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::task::AbortOnDropHandle;
use tracing::field::Empty;
use tracing::{Instrument, error, info_span, warn};
use unread_clock::{Backoff, Clock};
use unread_trace::TraceParent;

use super::rows::Outcome;
use super::{Discard, JobRun, MAX_ATTEMPTS, QueueConfig};

/// Runs one job to its end, whatever that is.
pub(super) async fn run<F, Fut>(
    handler: F,
    job: JobRun,
    config: &QueueConfig,
    clock: &Clock,
) -> Outcome
where
    F: Fn(JobRun) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let queue = config.name;
    let (key, attempt) = (job.key.clone(), job.attempt);
    let span = info_span!("job", queue, key, attempt, trace_id = Empty);
    let own = unread_trace::enter(job.trace, &span);
    let supervised = supervise(handler, job, own, config.deadline).instrument(span.clone());
    let Err(error) = supervised.await else {
        return Outcome::Done;
    };
    let outcome = failure(&error, attempt, clock.now());
    let _in_its_trace = span.enter();
    match &outcome {
        Outcome::Failed { retry_at, .. } if attempt < MAX_ATTEMPTS => {
            warn!(
                queue,
                key, attempt, "A {queue} job failed and is tried again after {retry_at}: {error:#}"
            );
        }
        _ => error!(queue, key, attempt, "A {queue} job is given up: {error:#}"),
    }
    outcome
}

/// The handler in a task of its own: a panic is an error, the deadline is kept, and several jobs use several cores.
async fn supervise<F, Fut>(
    handler: F,
    job: JobRun,
    trace: TraceParent,
    deadline: Duration,
) -> anyhow::Result<()>
where
    F: Fn(JobRun) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let handler = unread_trace::within(Some(trace), async move { handler(job).await });
    let mut task = AbortOnDropHandle::new(tokio::spawn(handler.in_current_span()));
    let joined = if let Ok(joined) = tokio::time::timeout(deadline, &mut task).await {
        joined
    } else {
        task.abort();
        // Only when it has really ended may the row go to another run.
        task.await
    };
    match joined {
        Ok(result) => result,
        // What it panicked with is in the log already, and might quote anything: it does not go into the table.
        Err(error) if error.is_panic() => Err(anyhow::anyhow!("the handler panicked")),
        Err(_) => Err(anyhow::anyhow!(
            "the handler did not end within {deadline:?}"
        )),
    }
}

/// What becomes of a job that has failed for the `attempt`th time.
fn failure(error: &anyhow::Error, attempt: i32, now: DateTime<Utc>) -> Outcome {
    // Bounded, and without the one character that PostgreSQL's JSON does not take.
    let text = format!("{error:#}")
        .chars()
        .filter(|c| *c != '\0')
        .take(500)
        .collect();
    if error.is::<Discard>() {
        return Outcome::Discarded { error: text };
    }
    let jitter = rand::random_range(0.8..1.2);
    Outcome::Failed {
        error: text,
        retry_at: now + backoff(attempt).mul_f64(jitter),
    }
}

/// 5 s after the first failure, then twice as long each time, up to a quarter of an hour. Business time.
fn backoff(attempt: i32) -> Duration {
    let earlier = attempt.saturating_sub(1).max(0).unsigned_abs();
    Backoff::new(Duration::from_secs(5), Duration::from_mins(15)).after(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-01-05T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_back_off_doubles_up_to_a_quarter_of_an_hour() {
        let seconds = [1, 2, 3, 8, 9, 25, i32::MAX].map(|attempt| backoff(attempt).as_secs());
        assert_eq!(seconds, [5, 10, 20, 640, 900, 900, 900]);
    }

    #[test]
    fn poison_is_recognised_under_any_context_and_everything_else_is_tried_again() {
        let poison = anyhow::Error::from(Discard("no such thing".into())).context("delivering");
        let outcome = failure(&poison, 1, noon());
        assert!(
            matches!(outcome, Outcome::Discarded { error } if error == "delivering: no such thing")
        );

        let error = anyhow::anyhow!("x\0{}", "y".repeat(1000));
        let Outcome::Failed { error, retry_at } = failure(&error, 2, noon()) else {
            panic!("tried again")
        };
        assert_eq!((error.len(), &error[..2]), (500, "xy"));
        let wait = retry_at - noon();
        assert!(wait >= chrono::TimeDelta::seconds(8) && wait <= chrono::TimeDelta::seconds(12));
    }
}
