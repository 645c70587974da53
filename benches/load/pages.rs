//! Every page and every list, asked for again and again on a ledger with a past: how long it takes, and what it reads to get there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{Executor as _, PgPool};
use tokio_util::sync::CancellationToken;
use unread::clock::Clock;
use unread::control::logins;
use unread::domain::access::Role;
use unread::metrics::Metrics;
use unread::postgres::Durability;
use unread::web::access::Route;
use unread::web::api::paging::cursor;
use unread::{app, db, web};

use crate::past::{self, FIRST_SKILL};
use crate::stage::{Stage, until_ready};

/// The goal for 95 of 100 answers.
const GOAL: Duration = Duration::from_millis(200);

/// Before it is measured, each address is asked for so often: PostgreSQL keeps a plan after five times.
const WARM_UP: usize = 6;

/// No statement may read more rows of a table that grows than one page of a search looks at, and a page's worth of others.
const MOST_ROWS: f64 = 21_000.0;

/// A table that is not larger may be read from end to end.
const FEW_ROWS: f64 = 1_000.0;

/// The tables that grow with the service's life. Not among them: `reminder_counts`, whose rows are hours, and `jobs`, whose rows go when
/// they are done.
const GROWING: [&str; 7] = [
    "reminders",
    "attempts",
    "decisions",
    "conversations",
    "consumers",
    "suppressions",
    "audit",
];

/// One address that is asked for.
struct Ask {
    what: String,
    method: Method,
    path: String,
    body: Body,
}

enum Body {
    None,
    Form(Vec<(&'static str, String)>),
    Json(Value),
}

/// Measures pages and lists on a ledger of `rows` reminders, each `n` times, and then looks at how each statement was done.
pub async fn run(durability: Durability, rows: usize, n: usize) -> Result<()> {
    let (port, metrics_port) = (
        crate::free_port()?.to_string(),
        crate::free_port()?.to_string(),
    );
    let settings = [
        ("PORT", port.as_str()),
        ("UNREAD_METRICS_PORT", metrics_port.as_str()),
    ];
    let stage = Stage::set(durability, &settings).await?;
    explain(&stage.pool, false).await?;
    let started = Instant::now();
    past::write(&stage.pool, i64::try_from(rows)?).await?;
    println!(
        "{rows} reminders and what belongs to them, written in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    let web = stage.role("web")?;
    until_ready(&format!("http://127.0.0.1:{metrics_port}/readyz")).await?;
    let asks = asks(&stage, &routes(&stage)?).await?;
    let visitor = Visitor {
        pool: stage.pool.clone(),
        http: unread::liveperson::http_client(),
        web: format!("http://127.0.0.1:{port}"),
    };

    let mut missed = Vec::new();
    println!("{:>9} {:>9} {:>9}  asked {n} times", "p50", "p95", "most");
    for ask in &asks {
        let mut took = visitor.measure(ask, n).await?;
        took.sort();
        let ms =
            |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
        println!(
            "{:>6.1} ms {:>6.1} ms {:>6.1} ms  {}",
            ms(50),
            ms(95),
            ms(100),
            ask.what
        );
        if ms(95) > GOAL.as_secs_f64() * 1e3 {
            missed.push(format!("{}: {:.0} ms", ask.what, ms(95)));
        }
    }
    let read = read_by(&stage, &visitor, &asks).await?;
    drop(web);
    stage.strike().await?;
    ensure!(
        missed.is_empty(),
        "slower than {GOAL:?}:\n  {}",
        missed.join("\n  ")
    );
    println!("every p95 is below {GOAL:?}");
    ensure!(read.is_empty(), "read too much:\n  {}", read.join("\n  "));
    println!(
        "no table that grows was read from end to end, nor more than {MOST_ROWS} rows of one by any statement"
    );
    Ok(())
}

/// The route table that the web serves.
fn routes(stage: &Stage) -> Result<Vec<Route>> {
    let config = stage.config()?;
    let (clock, metrics) = (Clock::System, Metrics::new());
    let hasher = unread::hashing::Hasher::new(b"routes");
    let context = app::context(&config, &stage.pool, &clock, &hasher, &metrics)?;
    let shutdown = CancellationToken::new();
    let (context, examine) = (Arc::new(context), unread::doctor::find_broken);
    let web = app::web_state(&config, &context, None, None, examine, &shutdown)?;
    Ok(web::guarded(&web).1)
}

/// Something to ask for at every page and list: as it is first opened, and with what makes it look for little among much.
#[expect(clippy::too_many_lines, reason = "a list")]
async fn asks(stage: &Stage, routes: &[Route]) -> Result<Vec<Ask>> {
    let pool = &stage.pool;
    // In the middle of three months, with a story.
    let (id, at, conversation): (i64, DateTime<Utc>, String) = sqlx::query_as(
        "select id, created_at, conversation from reminders where id >= (select max(id) / 2 from reminders) and state = 'delivered'
         order by id limit 1",
    )
    .fetch_one(pool)
    .await?;
    let consumer: String =
        sqlx::query_scalar("select consumer from consumers where conversation = $1 limit 1")
            .bind(&conversation)
            .fetch_one(pool)
            .await?;
    let (suppressed_at, hash, channel): (DateTime<Utc>, Vec<u8>, String) = sqlx::query_as(
        "select created_at, address_hash, channel from suppressions order by created_at offset 50000 limit 1",
    )
    .fetch_one(pool)
    .await?;
    let hash: [u8; 16] = hash.try_into().ok().context("a hash of another length")?;
    let audited: i64 = sqlx::query_scalar("select max(id) / 2 from audit")
        .fetch_one(pool)
        .await?;

    let skill = FIRST_SKILL.to_string();
    let fill = |pattern: &str| -> Result<String> {
        let parts = pattern.split('/').map(|part| match part {
            "{account}" => Ok("12345678"),
            "{skill}" => Ok(skill.as_str()),
            "{channel}" => Ok("email"),
            "{id}" => Ok("ID"),
            part if part.starts_with('{') => bail!("{pattern}: what is {part}?"),
            part => Ok(part),
        });
        Ok(parts
            .collect::<Result<Vec<_>>>()?
            .join("/")
            .replace("ID", &id.to_string()))
    };
    let mut asks = Vec::new();
    let mut get = |what: &str, path: String| {
        asks.push(Ask {
            what: what.to_owned(),
            method: Method::GET,
            path,
            body: Body::None,
        });
    };
    for route in routes.iter().filter(|route| route.method == Method::GET) {
        let pattern = route.path.as_str();
        let query = match pattern {
            // For who is not logged in, or a stream without an end.
            p if p.starts_with("/login") || p.starts_with("/setup/") => continue,
            "/api/v1/suppressions/export" => continue,
            "/api/v1/forecast" => "?account=12345678",
            "/api/v1/texts/built-in" => "?channel=email",
            _ => "",
        };
        get(pattern, fill(pattern)? + query);
    }
    let place = cursor(&(at, id));
    let api = |list: &str| format!("/api/v1/{list}");
    for (what, path) in [
        ("of a state", api("reminders?state=unknown&limit=200")),
        ("that are being sent", api("reminders?state=sending")),
        (
            "of a state, from the middle on",
            api(&format!("reminders?state=expired&after={place}")),
        ),
        (
            "from the middle on",
            api(&format!("reminders?after={place}")),
        ),
        (
            "of a span",
            api(&format!(
                "reminders?until={}",
                at.format("%Y-%m-%dT%H:%M:%SZ")
            )),
        ),
        (
            "of a skill, who came back",
            api(&format!(
                "reminders?skill={skill}&channel=sms&returned=true"
            )),
        ),
        (
            "with a reason that none has",
            api("reminders?reason=complaint&limit=200"),
        ),
        (
            "of a conversation",
            api(&format!("reminders?conversation={conversation}")),
        ),
        (
            "of a conversation that is not there",
            api("reminders?conversation=nobody"),
        ),
        (
            "of a consumer",
            api(&format!("reminders?consumer={consumer}")),
        ),
        ("of a channel", api("suppressions?channel=sms")),
        (
            "of a rare reason",
            api("suppressions?reason=complaint&limit=200"),
        ),
        (
            "from the middle on",
            api(&format!(
                "suppressions?after={}",
                cursor(&(suppressed_at, hash, channel, "12345678"))
            )),
        ),
        (
            "from the middle on",
            api(&format!("audit?after={}", cursor(&audited))),
        ),
        ("by somebody who changed little", api("audit?by=bob")),
        ("by nobody", api("audit?by=nobody")),
        ("of a rare verb", api("audit?action=user")),
        (
            "of a rare verb by somebody",
            api("audit?action=user.add&by=ann"),
        ),
        ("of 92 days", api("series?days=92&time_zone=Europe/Berlin")),
        ("of 365 days", api("effect?days=365")),
        (
            "of a skill",
            api(&format!("forecast?account=12345678&skill={skill}")),
        ),
        ("of a state", "/reminders/not-sent?state=unknown".to_owned()),
        (
            "of a state and channel",
            "/reminders/not-sent?state=cancelled&channel=sms".to_owned(),
        ),
        (
            "of a conversation",
            format!("/customers/12345678/{conversation}"),
        ),
        (
            "from the middle on",
            format!("/reminders/sent?before={}&id={id}", at.timestamp_micros()),
        ),
        ("by nobody", "/activity?by=nobody".to_owned()),
        ("of a rare verb", "/activity?action=user".to_owned()),
        ("of an account", "/reminders?account=12345678".to_owned()),
    ] {
        let route = path.split('?').next().unwrap_or_default();
        get(&format!("{route} {what}"), path.clone());
    }
    for (what, field, value) in [
        ("a consumer", "consumer", consumer.as_str()),
        ("a conversation", "conversation", conversation.as_str()),
        ("an address", "address", "somebody@example.com"),
    ] {
        asks.push(Ask {
            what: format!("/api/v1/consumers/look-up of {what}"),
            method: Method::POST,
            path: "/api/v1/consumers/look-up".to_owned(),
            body: Body::Json(json!({ "account": "12345678", (field): value })),
        });
        asks.push(Ask {
            what: format!("/customers, looking up {what}"),
            method: Method::POST,
            path: "/customers".to_owned(),
            body: Body::Form(vec![("who", value.to_owned())]),
        });
    }
    Ok(asks)
}

/// Somebody who looks at everything. A person may ask 20 times a second after a burst of 200, so each address has its own person.
struct Visitor {
    pool: PgPool,
    http: reqwest::Client,
    web: String,
}

impl Visitor {
    async fn measure(&self, ask: &Ask, n: usize) -> Result<Vec<Duration>> {
        let (cookie, csrf) = self.log_in().await?;
        let mut took = Vec::with_capacity(n);
        for round in 0..WARM_UP + n {
            let started = Instant::now();
            self.send(ask, &cookie, &csrf).await?;
            if round >= WARM_UP {
                took.push(started.elapsed());
            }
        }
        Ok(took)
    }

    async fn send(&self, ask: &Ask, cookie: &str, csrf: &str) -> Result<String> {
        let url = format!("{}{}", self.web, ask.path);
        let mut request = self
            .http
            .request(ask.method.clone(), url)
            .header("cookie", cookie)
            .header("sec-fetch-site", "same-origin")
            .header("x-csrf-token", csrf);
        request = match &ask.body {
            Body::None => request,
            Body::Form(fields) => request.form(fields),
            Body::Json(body) => request.json(body),
        };
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status == 200,
            "{} {}: {status} {text}",
            ask.method,
            ask.path
        );
        Ok(text)
    }

    /// The cookie of a new administrator, and the word that the forms carry.
    async fn log_in(&self) -> Result<(String, String)> {
        let now = Clock::System.now();
        let mut conn = self.pool.acquire().await?;
        let name = format!("visitor{}", rand::random::<u32>());
        let id = db::users::add(&mut conn, &name, Role::Administrator, None, now).await?;
        let id = id.context("the name is taken")?;
        drop(conn);
        let token =
            logins::open_session(&self.pool, id, (None, ""), TimeDelta::hours(12), now).await?;
        let cookie = format!("__Host-unread={}", token.expose());
        let page = Ask {
            what: String::new(),
            method: Method::GET,
            path: "/api".to_owned(),
            body: Body::None,
        };
        let page = self.send(&page, &cookie, "").await?;
        let rest = page
            .split_once("name=\"csrf\" content=\"")
            .context("no csrf word")?
            .1;
        Ok((
            cookie,
            rest.split('"').next().unwrap_or_default().to_owned(),
        ))
    }
}

/// Lets PostgreSQL write into its log how it does each statement, with the rows that it really read.
async fn explain(pool: &PgPool, on: bool) -> Result<()> {
    let least = if on { "0" } else { "-1" };
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_nested_statements", "on"),
        ("auto_explain.log_min_duration", least),
    ] {
        pool.execute(sqlx::AssertSqlSafe(format!(
            "alter system set {setting} = '{value}'"
        )))
        .await?;
    }
    pool.execute("select pg_reload_conf()").await?;
    Ok(())
}

/// Asks for everything once more and reads in PostgreSQL's log how each statement was done: those that read too much.
async fn read_by(stage: &Stage, visitor: &Visitor, asks: &[Ask]) -> Result<Vec<String>> {
    let mut log = fs::File::open(stage.server_log())?;
    let (cookie, csrf) = visitor.log_in().await?;
    explain(&stage.pool, true).await?;
    // Processes look at their settings between two statements.
    for ask in asks.iter().take(8) {
        visitor.send(ask, &cookie, &csrf).await?;
    }
    log.seek(SeekFrom::End(0))?;
    let (mut faults, mut statements) = (Vec::new(), 0);
    for ask in asks {
        visitor.send(ask, &cookie, &csrf).await?;
        let mut told = String::new();
        log.read_to_string(&mut told)?;
        let plans = plans(&told);
        // The API's document is open to all and comes from memory.
        ensure!(
            !plans.is_empty() || ask.what.ends_with("/openapi.json"),
            "{}: PostgreSQL did not tell of any statement",
            ask.what
        );
        statements += plans.len();
        for plan in plans {
            let mut rows = BTreeMap::new();
            count(&plan["Plan"], &mut rows);
            for (table, Read { rows, whole }) in rows {
                if whole || rows > MOST_ROWS {
                    let how = if whole { "from end to end" } else { "by index" };
                    let sql = plan["Query Text"].as_str().unwrap_or_default();
                    let sql: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
                    let sql: String = sql.chars().take(160).collect();
                    faults.push(format!("{}: {rows} rows of {table} {how}: {sql}", ask.what));
                }
            }
        }
    }
    println!("{statements} statements looked at");
    Ok(faults)
}

/// The plans in a piece of the log. A plan's lines are indented, and nothing else is.
fn plans(log: &str) -> Vec<Value> {
    let mut plans = Vec::new();
    let mut text: Option<String> = None;
    for line in log.lines().chain([""]) {
        match (&mut text, line.strip_prefix('\t')) {
            (Some(text), Some(rest)) => text.push_str(rest),
            (done, _) => {
                plans.extend(
                    done.take()
                        .and_then(|text| serde_json::from_str(&text).ok()),
                );
                if line.ends_with("plan:") {
                    text = Some(String::new());
                }
            }
        }
    }
    plans
}

/// What a statement read of one table.
#[derive(Default)]
struct Read {
    rows: f64,
    /// From end to end.
    whole: bool,
}

/// Adds up what a plan's nodes read.
fn count(node: &Value, read: &mut BTreeMap<String, Read>) {
    let number = |field: &str| node[field].as_f64().unwrap_or_default();
    if let Some(table) = node["Relation Name"]
        .as_str()
        .filter(|table| GROWING.contains(table))
    {
        let each = number("Actual Rows")
            + number("Rows Removed by Filter")
            + number("Rows Removed by Index Recheck");
        let of_table = read.entry(table.to_owned()).or_default();
        of_table.rows += each * number("Actual Loops");
        // A look at the first few rows is none of a whole table.
        of_table.whole |= node["Node Type"] == "Seq Scan" && each > FEW_ROWS;
    }
    for inner in node["Plans"].as_array().into_iter().flatten() {
        count(inner, read);
    }
}
