//! What a load run plays on: a PostgreSQL of its own, the sandbox and the service's roles as processes of their own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use sqlx::{Executor as _, PgPool};
use unread::config::{Config, ProcessRole, Sources};
use unread::db;
use unread::postgres::{Durability, Options, Server};

/// The skill that everybody is in.
pub const SKILL: i64 = unread::sandbox::world::CUSTOMER_CARE;

/// One e-mail three days after the unread message: what a scan finds is owed, and not due before the driver says so.
pub const RULES: &str = r#"
version = 2

[[rule]]
account = "12345678"
steps = [{ channel = "email", after_minutes = 4320 }]
"#;

pub struct Stage {
    pub pool: PgPool,
    environment: BTreeMap<String, String>,
    endpoints: Value,
    folder: PathBuf,
    sandbox: Process,
    server: Option<Server>,
}

/// A process of the service; killed when dropped.
pub struct Process {
    child: Child,
}

impl Stage {
    pub async fn set(durability: Durability, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("unread-load-{}", std::process::id()));
        let options = Options {
            root: folder.join("pg"),
            bin_dir: None,
            durability,
        };
        std::fs::create_dir_all(&folder)?;
        let server = start_counting(&options).await?;
        let mut sandbox = Process::spawn(&["sandbox", "--empty"], &folder, &BTreeMap::new())?;
        let endpoints = sandbox.first_json()?;
        let mut environment = point_at(&endpoints)?;
        environment.insert("DATABASE_URL".into(), server.url("postgres"));
        for (key, value) in settings {
            environment.insert((*key).to_owned(), (*value).to_owned());
        }
        // The driver's own questions are not what `plans` asks about.
        let options = server
            .connect_options("postgres")
            .options([("auto_explain.log_min_duration", "-1")]);
        let pool = db::pool(options, 8);
        let stage = Self {
            pool,
            environment,
            endpoints,
            folder,
            sandbox,
            server: Some(server),
        };
        stage.finish(&["migrate"])?;
        let rules = stage.folder.join("rules.toml");
        std::fs::write(&rules, RULES)?;
        stage.finish(&["rules", "import", &rules.to_string_lossy()])?;
        go_live(&stage.pool).await?;
        Ok(stage)
    }

    /// Starts a role of the service.
    pub fn role(&self, role: &str) -> Result<Process> {
        Process::spawn(&[role], &self.folder, &self.environment)
    }

    /// Runs a command of the service to its end.
    fn finish(&self, arguments: &[&str]) -> Result<()> {
        Process::finish(arguments, &self.folder, &self.environment)
    }

    /// The settings that the roles run with, for the reference loop.
    pub fn config(&self) -> Result<Config> {
        let sources = Sources {
            environment: self.environment.clone(),
            file: None,
            read_secret: |path| std::fs::read_to_string(path),
        };
        Ok(Config::read(&sources, ProcessRole::Worker)?)
    }

    /// Conversations with one unread message of an agent each, `every_ms` apart, the last of them an hour ago.
    pub async fn populate(&self, count: usize, every_ms: i64) -> Result<()> {
        let now = unread::clock::Clock::System.now().timestamp_millis();
        let length = i64::try_from(count)? * every_ms;
        let shape = json!({
            "started_at": now - length - 3_600_000, "every_ms": every_ms, "answered_after_ms": 60_000,
            "email": true,
        });
        let body = json!({"skill": SKILL, "count": count, "shape": shape});
        let url = format!("{}/populate", text(&self.endpoints, "/admin_url")?);
        let answer = http().post(url).json(&body).send().await?;
        answer
            .error_for_status()
            .context("populating the sandbox")?;
        Ok(())
    }

    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// The log of the database server.
    pub fn log(&self) -> Result<PathBuf> {
        let server = self.server.as_ref().context("the server runs")?;
        Ok(server.root().join("log"))
    }

    /// How many e-mails the sandbox has ever taken.
    pub async fn mails(&self) -> Result<u64> {
        let url = format!(
            "{}/api/messages?limit=0",
            text(&self.endpoints, "/mailbox_url")?
        );
        let answer: Value = http().get(url).send().await?.json().await?;
        let mails = answer["counts"]["mails"].as_u64();
        mails.context("the mailbox does not count")
    }

    /// What PostgreSQL has to say.
    pub fn server_log(&self) -> PathBuf {
        self.folder.join("pg").join("log")
    }

    pub fn cpu_of_sandbox(&self) -> Result<f64> {
        self.sandbox.cpu()
    }

    /// Processor time of PostgreSQL so far, in seconds: of the server, of the processes that have ended and of those that run.
    pub fn cpu_of_postgres(&self) -> Result<f64> {
        let server = self.server.as_ref().context("the server runs")?.pid();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| {
            // One that has just ended is counted with its parent.
            processor_time(pid.parse().ok()?, 2).ok()
        });
        Ok(processor_time(server, 4)? + children.sum::<f64>())
    }

    pub async fn strike(mut self) -> Result<()> {
        self.pool.close().await;
        if let Some(server) = self.server.take() {
            server.stop()?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A server that counts its statements, which it must be told before it starts.
async fn start_counting(options: &Options) -> Result<Server> {
    let server = Server::start(options)?;
    if options.durability == Durability::Throwaway {
        return Ok(server);
    }
    let pool = db::pool(server.connect_options("postgres"), 1);
    pool.execute("alter system set shared_preload_libraries = pg_stat_statements, auto_explain")
        .await?;
    pool.close().await;
    server.stop()?;
    let server = Server::start(options)?;
    let pool = db::pool(server.connect_options("postgres"), 1);
    pool.execute("create extension pg_stat_statements").await?;
    pool.close().await;
    Ok(server)
}

fn point_at(endpoints: &Value) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for (key, place) in [
        ("LE_ACCOUNT", "/account"),
        ("LE_CLIENT_ID", "/liveperson/credentials/client_id"),
        ("LE_CLIENT_SECRET", "/liveperson/credentials/client_secret"),
        ("UNREAD_LIVEPERSON_URL", "/liveperson/domain_url"),
        ("SMTP_HOST", "/smtp/host"),
        ("SMTP_USER", "/smtp/user"),
        ("SMTP_PASS", "/smtp/password"),
    ] {
        settings.insert(key.to_owned(), text(endpoints, place)?.to_owned());
    }
    settings.insert("SMTP_PORT".into(), endpoints["smtp"]["port"].to_string());
    for (key, value) in [
        ("SMTP_TLS", "none"),
        ("SMTP_FROM", "hello@shop.example"),
        ("UNREAD_BRAND", "The Example Shop"),
        ("UNREAD_METRICS_PORT", "0"),
        ("UNREAD_METRICS_BIND", "127.0.0.1"),
        ("UNREAD_BIND", "127.0.0.1"),
        ("UNREAD_PUBLIC_URL", "https://unread.shop.example"),
        ("UNREAD_PAGE_URL", "https://shop.example/help"),
        ("PORT", "0"),
        ("UNREAD_LOG_LEVEL", "warn"),
    ] {
        settings.insert(key.to_owned(), value.to_owned());
    }
    Ok(settings)
}

fn text<'a>(endpoints: &'a Value, place: &str) -> Result<&'a str> {
    let found = endpoints.pointer(place).and_then(Value::as_str);
    found.with_context(|| format!("the sandbox did not tell {place}"))
}

fn http() -> reqwest::Client {
    unread::liveperson::http_client()
}

impl Process {
    /// Runs a command of the service to its end.
    pub fn finish(
        arguments: &[&str],
        folder: &std::path::Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<()> {
        let status = Self::spawn(arguments, folder, environment)?.child.wait()?;
        ensure!(status.success(), "unread {arguments:?} ended with {status}");
        Ok(())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts a command of the service.
    pub fn spawn(
        arguments: &[&str],
        folder: &std::path::Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unread"));
        // Settings of whoever runs this must not leak in.
        command.args(arguments).current_dir(folder).env_clear();
        command.envs(environment).stdin(Stdio::null());
        Self::start(command).with_context(|| format!("starting unread {arguments:?}"))
    }

    pub fn start(mut command: Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn()?;
        Ok(Self { child })
    }

    /// The first line that the process prints.
    pub fn first_line(&mut self) -> Result<String> {
        let out = self.child.stdout.as_mut();
        let mut line = String::new();
        BufReader::new(out.context("the output is read once")?).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// What the process prints first, once it is whole.
    fn first_json(&mut self) -> Result<Value> {
        let out = self
            .child
            .stdout
            .take()
            .context("the output is read once")?;
        let mut printed = String::new();
        for line in BufReader::new(out).lines() {
            printed.push_str(&line?);
            if let Ok(value) = serde_json::from_str(&printed) {
                return Ok(value);
            }
        }
        bail!("the process ended before it had said where it is")
    }

    /// A field of `/proc/PID/status` in MB: `VmRSS` is what is resident, `VmHWM` the most there ever was.
    pub fn memory(&self, field: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|rest| {
            rest.trim_matches([':', ' ', '\t', 'k', 'B'])
                .parse::<f64>()
                .ok()
        });
        Ok(kilobytes.with_context(|| format!("no {field}"))? / 1024.0)
    }

    /// Processor time used so far, in seconds.
    pub fn cpu(&self) -> Result<f64> {
        processor_time(self.child.id(), 2)
    }
}

/// Processor time of this process so far, in seconds: the driver's, and that of what runs in it.
pub fn own_cpu() -> Result<f64> {
    processor_time(std::process::id(), 2)
}

/// The first so many of a process's times in seconds: user and system time, then those of its children that have ended.
fn processor_time(pid: u32, fields: usize) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything; the times begin with the 14th field.
    let rest = stat.rsplit_once(')').context("no name")?.1;
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(fields)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10).as_secs_f64())
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a probe until it answers that all is well.
pub async fn until_ready(probe: &str) -> Result<()> {
    let (http, started) = (http(), Instant::now());
    loop {
        match http.get(probe).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            _ => ensure!(
                started.elapsed() < Duration::from_secs(30),
                "not ready after 30 s"
            ),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks until the answer is there.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(
            started.elapsed() < patience,
            "{what}: not within {patience:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Lets reminders of every account out, those of what is unread already included.
pub async fn go_live(pool: &PgPool) -> Result<()> {
    sqlx::query(
        "insert into live (account, channel, since, by_whom, at)
         select id, c, 'epoch', 'benchmark', now() from accounts, unnest(array['email', 'sms']) c",
    )
    .execute(pool)
    .await?;
    Ok(())
}
