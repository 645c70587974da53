//! The badge against nothing: requests per second and p99 beside bare axum handlers, in one process and one run.
//!
//! ```text
//! cargo bench --bench badge      about half a minute; fails when a goal is missed
//! ```
//!
//! From memory the badge stands beside a handler that returns a constant of the same size, with a token beside one that verifies the
//! same token each time, from the database beside one that makes a single primary-key SELECT through the same pool. Both sides get the same requests of the same client, by turns, and
//! run on one thread of their own, so that all that the badge costs shows. The ratio is the median of the turns' ratios; absolute
//! figures are those of the machine.
//!
//! Then: how long after a change was stored an open page has heard of it.
//!
//! Last it looks whether time tells the unknown from those who have read everything, both asked for the first time.

mod client;
mod stage;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::runtime::{Builder, Runtime};

use client::{Client, Round, request, request_with};
use stage::{Stage, consumer, customer, new_path, old_path};
use token::token;

const SEED: u64 = 1;
const CONNECTIONS: u8 = 32;

/// Consumers in the database; those who are asked for from memory come first.
const CONSUMERS: usize = 60_000;
const REMEMBERED: usize = 1_000;

/// Turns, and requests of a turn. Turns are short, so that a noisy neighbour meets both sides.
const MEMORY: (usize, usize) = (60, 7_500);
/// A consumer's tokens are good for sixty requests at once, and two per second.
const TOKEN: (usize, usize) = (16, 2_500);
const DATABASE: (usize, usize) = (21, 2_000);

/// Customers who have read everything, and as many whom nobody knows.
const CUSTOMERS: usize = 6_000;

/// Changes that an open page hears of, and how soon but for one in a hundred.
const PUSHES: u32 = 200;
const HEARD_WITHIN: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The service and the bare handlers on one thread, the client on this one.
    let server = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let client = Builder::new_current_thread().enable_all().build()?;
    let stage = server.block_on(Stage::set(
        i32::try_from(CONSUMERS)?,
        i32::try_from(CUSTOMERS)?,
    ))?;
    let measured = measure(&server, &client, &stage);
    server.block_on(stage.strike())?;
    measured
}

fn measure(server: &Runtime, client: &Runtime, stage: &Stage) -> Result<()> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut bench = Bench {
        server,
        client,
        stage,
        badge: client.block_on(Client::connect(stage.badge, CONNECTIONS))?,
        bare: client.block_on(Client::connect(stage.bare, CONNECTIONS))?,
    };
    let known: Vec<String> = (0..REMEMBERED).map(consumer).collect();
    let (turns, requests) = MEMORY;
    let badge = around(known.iter().map(|id| request(&old_path(id))), requests);
    let bare = around([request("/old")].into_iter(), requests);
    let from_memory = bench.compare("from memory", "memory", turns, |_| {
        (badge.clone(), bare.clone())
    })?;

    let (turns, requests) = TOKEN;
    let badge = known.iter().map(|id| request_with(&new_path(), &token(id)));
    let badge = around(badge, requests);
    let bare = around(
        known.iter().map(|id| request_with("/verified", &token(id))),
        requests,
    );
    let with_token = bench.compare("from memory, with a token", "memory", turns, |_| {
        (badge.clone(), bare.clone())
    })?;

    let mut numbers: Vec<usize> = (REMEMBERED..CONSUMERS).collect();
    numbers.shuffle(&mut random);
    let (turns, requests) = DATABASE;
    let from_database = bench.compare("from the database", "database", turns, |turn| {
        let of_turn = numbers.iter().skip(turn * requests).take(requests);
        let ids: Vec<String> = of_turn.map(|n| consumer(*n)).collect();
        (
            ids.iter().map(|id| request(&old_path(id))).collect(),
            ids.iter()
                .map(|id| request(&format!("/row/{id}")))
                .collect(),
        )
    })?;
    let mut pushes = server.block_on(stage.pushes(PUSHES))?;
    let heard = Spread::of(&mut pushes);
    println!("from a change until an open page hears of it: {heard}");
    bench.tell_apart(&mut random)?;

    ensure!(
        heard.p99 < HEARD_WITHIN,
        "an open page hears of a change after {:.1?}, the goal is {HEARD_WITHIN:?}",
        heard.p99
    );
    ensure!(
        from_memory >= 0.95,
        "from memory: {from_memory:.2}, the goal is 0.95"
    );
    ensure!(
        with_token >= 0.9,
        "from memory, with a token: {with_token:.2}, the goal is 0.90"
    );
    ensure!(
        from_database >= 1.0,
        "from the database: {from_database:.2}, the goal is 1.00"
    );
    Ok(())
}

/// So many requests, beginning again where they end.
fn around(requests: impl Iterator<Item = Vec<u8>>, many: usize) -> Requests {
    let requests: Vec<_> = requests.collect();
    requests.iter().cycle().take(many).cloned().collect()
}

type Requests = Arc<[Vec<u8>]>;

struct Bench<'a> {
    server: &'a Runtime,
    client: &'a Runtime,
    stage: &'a Stage,
    badge: Client,
    bare: Client,
}

/// One side's turns.
#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    /// Microseconds of the server's processor time per request.
    costs: Vec<f64>,
    /// The part of a turn in which the client's processor was busy.
    client: Vec<f64>,
    /// Each turn's p99 in seconds.
    p99s: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Bench<'_> {
    /// The median of the turns' ratios of badge to bare requests per second. A turn before the first is not counted.
    fn compare(
        &mut self,
        what: &str,
        source: &str,
        turns: usize,
        mut requests: impl FnMut(usize) -> (Requests, Requests),
    ) -> Result<f64> {
        let (mut badge, mut bare) = (Side::default(), Side::default());
        self.turn(&mut Side::default(), &requests(turns).0, true)?;
        self.turn(&mut Side::default(), &requests(turns).1, false)?;
        let (before, mut asked) = (self.answers_from(source)?, 0);
        for turn in 0..turns {
            let (of_badge, of_bare) = requests(turn);
            asked += of_badge.len();
            // Whatever goes first has no advantage of it.
            if turn % 2 == 0 {
                self.turn(&mut badge, &of_badge, true)?;
                self.turn(&mut bare, &of_bare, false)?;
            } else {
                self.turn(&mut bare, &of_bare, false)?;
                self.turn(&mut badge, &of_badge, true)?;
            }
        }
        let from_there = self.answers_from(source)? - before;
        ensure!(
            from_there * 100 >= asked * 90,
            "{from_there} of {asked} answers came from the {source}"
        );
        let ratio_of = |badge: &[f64], bare: &[f64]| {
            median(badge.iter().zip(bare).map(|(badge, bare)| badge / bare))
        };
        let ratio = ratio_of(&badge.rates, &bare.rates);
        let p99 = ratio_of(&badge.p99s, &bare.p99s);
        println!(
            "{what}: {ratio:.2} of the bare handler's requests per second, {p99:.2} times its p99"
        );
        for (name, side) in [("bare", &mut bare), ("badge", &mut badge)] {
            side.print(name);
        }
        Ok(ratio)
    }

    fn turn(&mut self, side: &mut Side, requests: &Requests, badge: bool) -> Result<()> {
        let client = if badge {
            &mut self.badge
        } else {
            &mut self.bare
        };
        let (server_before, client_before) = (processor_time_of(self.server)?, processor_time()?);
        let round = self.client.block_on(client.round(requests.clone()))?;
        let of_client = processor_time()? - client_before;
        let of_server = processor_time_of(self.server)? - server_before;
        side.rates.push(round.rate());
        side.costs.push(of_server * 1e6 / count(&round));
        side.client.push(of_client / round.took.as_secs_f64());
        let mut latencies: Vec<_> = round.answers.into_iter().map(|(_, took)| took).collect();
        let p99 = Spread::of(&mut latencies).p99;
        side.p99s.push(p99.as_secs_f64());
        side.latencies.append(&mut latencies);
        Ok(())
    }

    fn answers_from(&self, source: &str) -> Result<usize> {
        self.server.block_on(self.stage.answers_from(source))
    }

    /// Who has read everything and who is unknown, mixed: does time tell them apart, when first asked for and when remembered?
    fn tell_apart(&mut self, random: &mut StdRng) -> Result<()> {
        let mut numbers: Vec<usize> = (0..2 * CUSTOMERS).collect();
        numbers.shuffle(random);
        let asked = numbers.iter().map(|n| request(&old_path(&customer(*n))));
        let asked: Requests = asked.collect();
        for when in ["first asked for", "remembered"] {
            let round = self.client.block_on(self.badge.round(asked.clone()))?;
            let (mut read, mut unknown) = (Vec::new(), Vec::new());
            for (place, took) in round.answers {
                let known = numbers[place] < CUSTOMERS;
                if known { &mut read } else { &mut unknown }.push(took);
            }
            let (read, unknown) = (Spread::of(&mut read), Spread::of(&mut unknown));
            println!("{when}: {read} for who has read everything, {unknown} for the unknown");
            let ratio = unknown.middle.as_secs_f64() / read.middle.as_secs_f64();
            ensure!(
                (0.9..=1.1).contains(&ratio),
                "time tells the unknown: {ratio:.2}"
            );
        }
        Ok(())
    }
}

impl Side {
    fn print(&mut self, name: &str) {
        println!(
            "  {name:5} {:8.0}/s, {}; {:.1} µs of the server's processor per request, client {:.0} % busy",
            median(self.rates.iter().copied()),
            Spread::of(&mut self.latencies),
            median(self.costs.iter().copied()),
            median(self.client.iter().copied()) * 100.0,
        );
    }
}

struct Spread {
    middle: Duration,
    p99: Duration,
}

impl Spread {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self {
            middle: at(50),
            p99: at(99),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:.2} ms, p99 {:.2} ms",
            ms(self.middle),
            ms(self.p99)
        )
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "for printing")]
fn count(round: &Round) -> f64 {
    round.answers.len() as f64
}

/// Seconds of a processor that this thread has used.
fn processor_time() -> Result<f64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = told.split(' ').next().context("an empty schedstat")?;
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}

/// The same of the one thread of a runtime.
fn processor_time_of(runtime: &Runtime) -> Result<f64> {
    runtime.block_on(runtime.spawn(async { processor_time() }))?
}
