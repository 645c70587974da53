//! How old is what the service knows when a message leaves: many reminders due at once, a rate that lets them wait, and consumers who
//! read or opt out meanwhile.
//!
//! The mail server is one of this driver's own, written from RFC 5321 and not the sandbox's: it notes when the first byte of each message
//! comes, and may be slow about every step before. LivePerson's answers are dated by the sandbox, at the moment at which it is asked.
//! With `--freeze` the worker stands still now and then, as a starved or suspended machine does.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use unread::clock::Clock;
use unread::demo;
use unread::domain::ids::{AccountId, Channel};
use unread::postgres::{Durability, Options, Server};
use unread::sandbox::faults::Endpoint;
use unread::sandbox::world::CUSTOMER_CARE;
use unread::sandbox::{ACCOUNT, Options as SandboxOptions, Sandbox};

use crate::stage::{Process, RULES, go_live, until};
use crate::{free_port, ledger};

pub struct FreshOptions {
    pub durability: Durability,
    pub reminders: usize,
    /// E-mails per second.
    pub rate: usize,
    /// Worker processes.
    pub workers: usize,
    /// How long the mail server takes for each reply.
    pub reply: Duration,
    pub freeze: bool,
}

/// Goals: an answer's age at the first byte; how long after its answer an opt-out may still be missed.
const OLDEST: f64 = 2.0;
const MISSED: f64 = 0.5;

/// When the first byte of the message to an address came, in milliseconds of the epoch.
type FirstBytes = Arc<Mutex<HashMap<String, i64>>>;

fn now_ms() -> i64 {
    Clock::System.now().timestamp_millis()
}

/// A mail server that takes everything.
async fn serve(listener: TcpListener, reply: Duration, first_bytes: FirstBytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let first_bytes = first_bytes.clone();
        tokio::spawn(async move { talk(stream, reply, &first_bytes).await });
    }
}

async fn talk(stream: TcpStream, reply: Duration, first_bytes: &FirstBytes) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    write.write_all(b"220 peer.example ESMTP\r\n").await?;
    let (mut line, mut to) = (String::new(), String::new());
    loop {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        tokio::time::sleep(reply).await;
        let answer = match verb.as_str() {
            "EHLO" => "250-peer.example\r\n250 8BITMIME\r\n",
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1);
                address.unwrap_or_default().clone_into(&mut to);
                "250 2.1.5 Ok\r\n"
            }
            "DATA" => {
                write.write_all(b"354 Go ahead\r\n").await?;
                take_message(&mut read, &to, first_bytes).await?;
                "250 2.0.0 Ok\r\n"
            }
            "QUIT" => return write.write_all(b"221 2.0.0 Bye\r\n").await,
            _ => "250 2.0.0 Ok\r\n",
        };
        write.write_all(answer.as_bytes()).await?;
    }
}

/// Reads to the line with the single dot.
async fn take_message<R>(read: &mut R, to: &str, first_bytes: &FirstBytes) -> std::io::Result<()>
where
    R: tokio::io::AsyncBufRead + Unpin,
{
    let mut content = vec![read.read_u8().await?];
    first_bytes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(to.to_owned(), now_ms());
    while !content.ends_with(b"\r\n.\r\n") {
        if read.read_until(b'\n', &mut content).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// What a consumer does while the reminder waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    Reads,
    OptsOut,
}

struct Person {
    address: String,
    conversation: String,
    deed: Deed,
    /// After the due moment.
    after: Duration,
    /// When LivePerson showed the message as read, or the service had answered that it will not write any more.
    done_at: Option<i64>,
}

pub async fn run(wanted: &FreshOptions) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("unread-fresh-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let server = Server::start(&Options {
        root: folder.join("pg"),
        bin_dir: None,
        durability: wanted.durability,
    })?;
    let sandbox = Sandbox::start(SandboxOptions::default()).await?;
    sandbox.world().keep_checks();
    let first_bytes = FirstBytes::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let smtp_port = listener.local_addr()?.port();
    let peer = tokio::spawn(serve(listener, wanted.reply, first_bytes.clone()));
    let web = free_port()?;
    let environment = environment(&sandbox, &server, wanted.rate, (smtp_port, web));
    let pool = unread::db::pool(server.connect_options("postgres"), 8);

    let mut people = invent(&sandbox, wanted);
    let service = Service::start(&folder, &environment, wanted.workers, &pool).await?;
    let verdict = async {
        let due = service.schedule(&pool, people.len()).await?;
        let wait = (due - Clock::System.now()).to_std().unwrap_or_default();
        let start = Instant::now() + wait;
        let tokens = tokens(&pool).await?;
        let frozen = async {
            if wanted.freeze {
                freeze(&service.workers[0], start).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let lives = live(&mut people, &sandbox, web, &tokens, start);
        tokio::try_join!(lives, frozen)?;
        all_final(&pool).await?;
        let verdict = judge(
            &people,
            &sandbox,
            &first_bytes,
            due.timestamp_millis(),
            wanted,
        );
        states(&pool).await?;
        verdict
    }
    .await;
    drop(service);
    peer.abort();
    pool.close().await;
    sandbox.stop().await;
    server.stop()?;
    let _ = std::fs::remove_dir_all(&folder);
    verdict
}

fn environment(
    sandbox: &Sandbox,
    server: &Server,
    rate: usize,
    (smtp, web): (u16, u16),
) -> BTreeMap<String, String> {
    let mut environment = demo::environment(sandbox.endpoints());
    for key in ["SMTP_USER", "SMTP_PASS"] {
        environment.remove(key);
    }
    for (key, value) in [
        ("DATABASE_URL", server.url("postgres")),
        ("SMTP_HOST", "127.0.0.1".to_owned()),
        ("SMTP_PORT", smtp.to_string()),
        ("SMTP_RATE_PER_SECOND", rate.to_string()),
        ("UNREAD_PUBLIC_URL", format!("http://127.0.0.1:{web}")),
        ("UNREAD_BIND", "127.0.0.1".to_owned()),
        ("UNREAD_METRICS_BIND", "127.0.0.1".to_owned()),
        ("UNREAD_METRICS_PORT", "0".to_owned()),
        ("UNREAD_LOG_LEVEL", "error".to_owned()),
        ("PORT", web.to_string()),
    ] {
        environment.insert(key.to_owned(), value);
    }
    environment
}

/// The service's processes.
struct Service {
    scheduler: Mutex<Option<Process>>,
    workers: Vec<Process>,
    _web: Process,
}

impl Service {
    async fn start(
        folder: &Path,
        environment: &BTreeMap<String, String>,
        workers: usize,
        pool: &PgPool,
    ) -> Result<Self> {
        let start = |role: &str| Process::spawn(&[role], folder, environment);
        Process::finish(&["migrate"], folder, environment)?;
        let rules = folder.join("rules.toml");
        std::fs::write(&rules, RULES)?;
        let import = ["rules", "import", &*rules.to_string_lossy()];
        Process::finish(&import, folder, environment)?;
        go_live(pool).await?;
        Ok(Self {
            scheduler: Mutex::new(Some(start("scheduler")?)),
            workers: (0..workers.max(1))
                .map(|_| start("worker"))
                .collect::<Result<Vec<_>>>()?,
            _web: start("web")?,
        })
    }

    /// Waits for a scan that schedules all of them, and makes them due together.
    async fn schedule(&self, pool: &PgPool, count: usize) -> Result<DateTime<Utc>> {
        let reminders = until("a scan", Duration::from_mins(5), async || {
            let found = ledger::scheduled(pool).await?;
            Ok((found.len() == count).then_some(found))
        })
        .await?;
        // Further scans would cancel what this driver wants to see cancelled at the last moment.
        self.scheduler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        ledger::scans_ended(pool).await?;
        let account: AccountId = ACCOUNT.parse()?;
        let due = ledger::soon();
        ledger::make_due(pool, (&account, Channel::Email), &reminders, |_| due).await?;
        Ok(due)
    }
}

async fn all_final(pool: &PgPool) -> Result<()> {
    until("all reminders final", Duration::from_mins(10), async || {
        let left: bool =
            sqlx::query_scalar("select exists (select from reminders where next_at is not null)")
                .fetch_one(pool)
                .await?;
        Ok((!left).then_some(()))
    })
    .await
}

/// An eighth read, a quarter opt out, at any moment from the due one until the last reminder should have gone.
fn invent(sandbox: &Sandbox, wanted: &FreshOptions) -> Vec<Person> {
    let world = sandbox.world();
    let lasts = wanted.reminders as f64 / wanted.rate as f64;
    (0..wanted.reminders)
        .map(|n| {
            let address = format!("person{n}@example.com");
            let then = world.minutes_from_now(-60.0);
            let opening = then.conversation(ACCOUNT, CUSTOMER_CARE);
            let conversation = opening.email(&address).start();
            then.consumer_says(&conversation, "Do you have it in green?");
            then.agent_says(&conversation, "Yes, we do.");
            let deed = match n % 8 {
                1 => Deed::Reads,
                3 | 5 => Deed::OptsOut,
                _ => Deed::Nothing,
            };
            // Spread over the whole time by a step that is prime to any length.
            let share = (n * 61 % wanted.reminders.max(1)) as f64 / wanted.reminders as f64;
            Person {
                address,
                conversation,
                deed,
                after: Duration::from_secs_f64(share * lasts),
                done_at: None,
            }
        })
        .collect()
}

async fn tokens(pool: &PgPool) -> Result<HashMap<String, String>> {
    let all: Vec<(String, String)> = sqlx::query_as("select conversation, token from reminders")
        .fetch_all(pool)
        .await?;
    Ok(all.into_iter().collect())
}

/// Everybody does what they do, at their moment.
async fn live(
    people: &mut [Person],
    sandbox: &Sandbox,
    web: u16,
    tokens: &HashMap<String, String>,
    start: Instant,
) -> Result<()> {
    let http = unread::liveperson::http_client();
    let lives = people.iter_mut().filter(|p| p.deed != Deed::Nothing);
    let lives = lives.map(async |person| {
        tokio::time::sleep_until((start + person.after).into()).await;
        match person.deed {
            Deed::Nothing => {}
            Deed::Reads => sandbox.world().consumer_reads(&person.conversation),
            Deed::OptsOut => {
                let token = tokens.get(&person.conversation).context("a token")?;
                let answer = http
                    .post(format!("http://127.0.0.1:{web}/u/{token}"))
                    .send()
                    .await?;
                ensure!(
                    answer.status().is_success(),
                    "opting out: {}",
                    answer.status()
                );
            }
        }
        person.done_at = Some(now_ms());
        Ok(())
    });
    let results: Vec<Result<()>> = futures_util::future::join_all(lives).await;
    results.into_iter().collect()
}

/// The first worker stands still for a moment, for longer, and for very long.
async fn freeze(worker: &Process, start: Instant) -> Result<()> {
    for (after, stands) in [
        (4_000, 700),
        (8_000, 1_600),
        (12_000, 3_000),
        (20_000, 26_000),
    ] {
        let at = start + Duration::from_millis(after);
        tokio::time::sleep_until(at.into()).await;
        signal("STOP", worker.id())?;
        tokio::time::sleep(Duration::from_millis(stands)).await;
        signal("CONT", worker.id())?;
    }
    Ok(())
}

fn signal(which: &str, process: u32) -> Result<()> {
    let sent = Command::new("kill")
        .args([format!("-{which}"), process.to_string()])
        .status()?;
    ensure!(sent.success(), "kill -{which}: {sent}");
    Ok(())
}

fn judge(
    people: &[Person],
    sandbox: &Sandbox,
    first_bytes: &FirstBytes,
    due: i64,
    wanted: &FreshOptions,
) -> Result<()> {
    let first_bytes = first_bytes.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = |ms: i64| ms as f64 / 1e3;
    let (mut ages, mut missed, mut after_read, mut times) = (vec![], vec![], vec![], vec![]);
    let (mut no, mut read) = (0, 0);
    for person in people {
        let written = first_bytes.get(&person.address);
        let done_first = |at: i64| written.is_none_or(|written| at < *written);
        if person.done_at.is_some_and(done_first) {
            no += usize::from(person.deed == Deed::OptsOut);
            read += usize::from(person.deed == Deed::Reads);
        }
        let Some(written) = written else { continue };
        times.push(*written);
        let asked = sandbox.world().checked_at(&person.conversation);
        let asked = asked.iter().rfind(|at| *at <= written);
        ages.push(asked.map_or(f64::INFINITY, |at| seconds(written - at)));
        match (person.deed, person.done_at) {
            (Deed::OptsOut, Some(at)) if at < *written => missed.push(seconds(written - at)),
            (Deed::Reads, Some(at)) if at < *written => after_read.push(seconds(written - at)),
            _ => {}
        }
    }
    ages.sort_by(f64::total_cmp);
    times.sort_unstable();
    let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    let share = |percent: usize| ages.get(ages.len() * percent / 100).copied();
    let densest = times
        .iter()
        .map(|at| {
            times
                .iter()
                .filter(|t| (*at..*at + 1_000).contains(*t))
                .count()
        })
        .max();
    let lasted = seconds(times.last().copied().unwrap_or(due) - due);
    println!(
        "{} reminders due at once at {}/s, {} workers, {} ms per reply{}",
        people.len(),
        wanted.rate,
        wanted.workers,
        wanted.reply.as_millis(),
        if wanted.freeze {
            ", frozen now and then"
        } else {
            ""
        }
    );
    println!(
        "  {} e-mails in {lasted:.1} s = {:.2}/s; {} in the densest second",
        times.len(),
        times.len() as f64 / lasted,
        densest.unwrap_or_default()
    );
    println!(
        "  LivePerson was asked {} times about conversations by their ids",
        sandbox.faults().requests(Endpoint::ById)
    );
    println!(
        "  age of LivePerson's answer at the first byte: p50 {:.2} s, p99 {:.2} s, max {:.2} s",
        share(50).unwrap_or_default(),
        share(99).unwrap_or_default(),
        most(&ages)
    );
    println!(
        "  {no} opted out before their e-mail: {} still written to, up to {:.2} s later",
        missed.len(),
        most(&missed)
    );
    println!(
        "  {read} read before their e-mail: {} still written to, up to {:.2} s later",
        after_read.len(),
        most(&after_read)
    );
    ensure!(most(&ages) <= OLDEST, "an answer was older than {OLDEST} s");
    ensure!(
        most(&missed) <= MISSED,
        "an opt-out was missed for more than {MISSED} s"
    );
    ensure!(
        most(&after_read) <= OLDEST,
        "a read message was reminded of"
    );
    ensure!(
        densest.unwrap_or_default() <= wanted.rate + 1,
        "too many in a second"
    );
    Ok(())
}

/// What became of the reminders, and how the attempts ended.
async fn states(pool: &PgPool) -> Result<()> {
    for sql in [
        "select 'reminders ' || state || coalesce(' ' || case when state <> 'sent' then reason end, ''), count(*) from reminders group by 1 order by 1",
        "select 'attempts ' || coalesce(outcome, 'open') || coalesce(' ' || code, ''), count(*) from attempts group by 1 order by 1",
        "select 'decisions ' || verdict || ' ' || reason, count(*) from decision_log where stage = 'deliver' group by 1 order by 1",
    ] {
        let counts: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(pool).await?;
        for (what, count) in counts {
            println!("    {count:6} {what}");
        }
    }
    Ok(())
}
