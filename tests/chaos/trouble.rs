//! What goes wrong, and when: all of it drawn from the seed before the run begins.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use unread::sandbox::Sandbox;
use unread::sandbox::faults::{Fault, FaultRule, FaultSpan as Often};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Bounce, Phase, SmtpFault};
use unread::sandbox::twilio::{Callback, Delivery, Operation, TwilioAnswer, TwilioFault};

use super::Options;
use super::processes::{Processes, ROLES};
use super::servers::OwnServer;

/// How PostgreSQL is stopped before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A fast shutdown: clients are broken off.
    Clean,
    /// An immediate shutdown: the next start recovers from the log.
    Immediate,
    /// `kill -9` of the main process.
    Kill,
}

pub struct Plan {
    /// When, which process, and how long until it comes back.
    kills: Vec<(Duration, usize, Duration)>,
    /// When, which process, and how long it stands still.
    freezes: Vec<(Duration, usize, Duration)>,
    stops: Vec<(Duration, Stop)>,
    /// When, and how many connections to PostgreSQL are ended by it.
    pub cuts: Vec<(Duration, i64)>,
}

pub fn plan(options: &Options) -> Plan {
    let mut dice = StdRng::seed_from_u64(options.seed ^ 0x7c0_b1e5);
    let spread = options.spread;
    // The end is left for what was struck to recover: its leases are minutes long.
    let moment = |dice: &mut StdRng| spread.mul_f64(dice.random_range(0.02..0.8));
    // Workers are what it is about; the others die more seldom.
    let victim = |dice: &mut StdRng| match dice.random_range(0..10) {
        0..6 => dice.random_range(0..3),
        6..8 => dice.random_range(3..5),
        _ => dice.random_range(5..ROLES.len()),
    };
    let mut kills: Vec<_> = (0..options.kills)
        .map(|_| {
            let pause = Duration::from_millis(dice.random_range(0..1_500));
            (moment(&mut dice), victim(&mut dice), pause)
        })
        .collect();
    let longest = options.longest_freeze.as_secs_f64();
    let mut freezes: Vec<_> = (0..options.kills / 2)
        .map(|_| {
            let length = Duration::from_secs_f64(dice.random_range(0.1..longest));
            (moment(&mut dice), victim(&mut dice), length)
        })
        .collect();
    // One in each stretch of time, so that they do not fall together.
    let stops = (0..options.restarts)
        .map(|n| {
            let share = (f64::from(n) + dice.random_range(0.2..0.8)) / f64::from(options.restarts);
            let how = [Stop::Kill, Stop::Immediate, Stop::Clean][n as usize % 3];
            (spread.mul_f64(share), how)
        })
        .collect();
    let mut cuts: Vec<_> = (0..options.kills / 2)
        .map(|_| (moment(&mut dice), dice.random_range(1..10)))
        .collect();
    kills.sort_unstable();
    freezes.sort_unstable();
    cuts.sort_unstable();
    Plan {
        kills,
        freezes,
        stops,
        cuts,
    }
}

pub async fn with_processes(processes: &Processes, plan: &Plan) {
    let kills = plan.kills.iter().map(async |(at, slot, pause)| {
        tokio::time::sleep(*at).await;
        processes.kill(*slot, *pause).await;
    });
    let freezes = plan.freezes.iter().map(async |(at, slot, length)| {
        tokio::time::sleep(*at).await;
        processes.freeze(*slot, *length).await;
    });
    tokio::join!(join_all(kills), join_all(freezes));
}

/// Stops and starts the server; says how.
pub async fn with_postgres(server: &mut OwnServer, plan: &Plan) -> Vec<Stop> {
    let began = tokio::time::Instant::now();
    for (at, how) in &plan.stops {
        tokio::time::sleep_until(began + *at).await;
        match how {
            Stop::Clean => server.restart().await,
            Stop::Immediate => {
                server.crash().await;
                server.start().await;
            }
            Stop::Kill => {
                server.kill().await;
                server.start().await;
            }
        }
    }
    plan.stops.iter().map(|(_, how)| *how).collect()
}

/// Ends connections of the service from the server's side.
pub async fn with_connections(pool: &PgPool, plan: &Plan) {
    let cuts = plan.cuts.iter().map(async |(at, most)| {
        tokio::time::sleep(*at).await;
        // Fails while the server is away, which is a cut as well.
        let _ = sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where backend_type = 'client backend' and pid <> pg_backend_pid() order by random() limit $1",
        )
        .bind(most)
        .execute(pool)
        .await;
    });
    join_all(cuts).await;
}

/// Doubles jobs: a fifth of the deliveries that wait in the queue get a twin under another key, for the same moment or for one
/// a little later. Two workers then have the same reminder in hand, or one gets it again when it is long done. Returns how many.
pub async fn with_doubled_jobs(pool: &PgPool, options: &Options) -> u64 {
    let end = tokio::time::Instant::now() + options.spread;
    let mut twins = 0;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Fails while the server is away.
        let doubled = sqlx::query(
            "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, idempotency_key)
             select md5(j.id), j.job_type, j.job, 'Pending', 0, j.max_attempts,
                 j.run_at + make_interval(secs => (abs(hashtext(j.idempotency_key)) % 4) * 1.5), 0, j.idempotency_key || '-twin'
             from apalis.jobs j
             where j.job_type like 'deliver\\_%' and j.idempotency_key not like '%-twin' and j.status = 'Pending'
               and hashtext(j.idempotency_key || $1) % 5 = 0
             on conflict do nothing",
        )
        .bind(options.seed.to_string())
        .execute(pool)
        .await;
        twins += doubled.map_or(0, |done| done.rows_affected());
    }
    twins
}

/// Faults at LivePerson and both providers; each list together strikes about `fault_share` of the messages or calls.
pub fn provider_faults(sandbox: &Sandbox, options: &Options) {
    let share = options.fault_share;
    liveperson(sandbox, share);
    smtp(sandbox, share, options.wait_out_leases);
    twilio(sandbox, share, options.wait_out_leases);
    undelivered(sandbox, share);
}

/// The share of each of `kinds` that together have `share`.
fn split(share: f64, kinds: usize) -> f64 {
    share / f64::from(u32::try_from(kinds).unwrap_or(u32::MAX))
}

fn liveperson(sandbox: &Sandbox, share: f64) {
    let faults = [
        Fault::Throttled {
            retry_after_s: Some(1),
        },
        Fault::ElasticSearch,
        Fault::Runtime,
        Fault::Unavailable,
        Fault::Truncated,
        Fault::Garbage,
        Fault::Dropped,
        Fault::PartialResult,
    ];
    let each = split(share, faults.len());
    for fault in faults {
        sandbox.faults().add(FaultRule {
            endpoint: None,
            account: None,
            skill: None,
            fault,
            when: Often::Probability(each),
        });
    }
}

fn smtp(sandbox: &Sandbox, share: f64, silences: bool) {
    let soft = |phase, text: &'static str| move |when| SmtpFault::reply(phase, when, text);
    let mut faults: Vec<Box<dyn Fn(When) -> SmtpFault>> = vec![
        Box::new(soft(Phase::Greeting, "421 4.3.2 Not now")),
        Box::new(soft(Phase::Ehlo, "421 4.3.2 Not now")),
        Box::new(soft(Phase::Mail, "451 4.3.0 Try again")),
        Box::new(soft(Phase::Rcpt, "450 4.2.1 Busy")),
        Box::new(soft(Phase::Rcpt, "550 5.1.1 No such mailbox")),
        Box::new(soft(Phase::Data, "451 4.3.0 Try again")),
        Box::new(soft(Phase::Final, "451 4.3.0 Try again")),
        Box::new(soft(Phase::Final, "421 4.3.2 Closing")),
        Box::new(|when| SmtpFault::close(Phase::Mail, when, false)),
        Box::new(|when| SmtpFault::close(Phase::Data, when, false)),
        Box::new(|when| SmtpFault::close(Phase::Final, when, true)),
        Box::new(|when| SmtpFault::close(Phase::Final, when, false)),
    ];
    if silences {
        faults.push(Box::new(|when| {
            SmtpFault::silence(Phase::Final, when, true)
        }));
        faults.push(Box::new(|when| {
            SmtpFault::silence(Phase::Final, when, false)
        }));
    }
    let each = split(share, faults.len());
    for fault in faults {
        sandbox.smtp().faults().add(fault(When::chance(each)));
    }
}

fn twilio(sandbox: &Sandbox, share: f64, silences: bool) {
    let mut answers = vec![
        TwilioAnswer::TooMany {
            retry_after: Some(1),
        },
        TwilioAnswer::TooMany { retry_after: None },
        TwilioAnswer::Error { code: 20500 },
        TwilioAnswer::Error { code: 20503 },
        TwilioAnswer::CutBody,
        TwilioAnswer::Close { accepted: true },
        TwilioAnswer::Close { accepted: false },
    ];
    if silences {
        answers.push(TwilioAnswer::Silence { accepted: true });
        answers.push(TwilioAnswer::Silence { accepted: false });
    }
    let faults = sandbox.twilio().faults();
    let each = split(share, answers.len());
    for answer in answers {
        // A lost message also takes a while to show up in the list.
        let fault = TwilioFault::answer(When::chance(each), answer).unlisted_for(2_000);
        faults.add(fault);
    }
    for on in [Operation::List, Operation::Fetch] {
        let answer = TwilioAnswer::Error { code: 20503 };
        faults.add(TwilioFault::answer(When::chance(share), answer).on(on));
    }
}

/// What is accepted and does not arrive, soon or late: twice as much as fails at once.
fn undelivered(sandbox: &Sandbox, share: f64) {
    let bounces = [
        Bounce::hard as fn(When, u32) -> Bounce,
        Bounce::soft,
        Bounce::hard,
    ];
    let each = split(2.0 * share, bounces.len());
    for (bounce, after_ms) in bounces.into_iter().zip([300, 1_500, 5_000]) {
        sandbox
            .smtp()
            .bounces()
            .add(bounce(When::chance(each), after_ms));
    }
    let deliveries = [
        Delivery::undelivered(30003),
        Delivery::undelivered(30005).calling_back(Callback::Twice),
        Delivery::failed(30003).calling_back_late(3_000),
        Delivery::undelivered(30003).calling_back_out_of_order(),
    ];
    let each = split(2.0 * share, deliveries.len());
    for delivery in deliveries {
        sandbox
            .twilio()
            .faults()
            .add(TwilioFault::delivery(When::chance(each), delivery));
    }
}

pub fn end_of_faults(sandbox: &Sandbox) {
    sandbox.faults().clear_all();
    sandbox.smtp().faults().clear();
    sandbox.smtp().bounces().clear();
    sandbox.twilio().faults().clear();
}
