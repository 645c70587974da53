//! The same deliveries by graphile-worker, the queue that Node programs on PostgreSQL use: `benches/graphile`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::Executor as _;
use unread::domain::ids::ReminderId;

use crate::ledger::{self, Round};
use crate::stage::{Process, Stage, until};

const SOURCES: [&str; 2] = ["package.json", "worker.mjs"];
const TEMPLATES: [&str; 3] = ["en/email.subject.hbs", "en/email.txt.hbs", "email.html.hbs"];

/// Puts the worker into a folder of its own and installs what it needs. Returns the folder.
pub fn install() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("graphile");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(folder.join("templates/en"))?;
    for name in SOURCES {
        std::fs::copy(root.join("benches/graphile").join(name), folder.join(name))?;
    }
    for name in TEMPLATES {
        let copy = folder.join("templates").join(name);
        std::fs::copy(root.join("templates").join(name), copy)?;
    }
    for program in ["node", "npm"] {
        let found = Command::new(program).arg("--version").output();
        let found =
            found.with_context(|| format!("--graphile needs `{program}` (Node.js 20 or newer)"))?;
        let version = String::from_utf8_lossy(&found.stdout);
        println!("{program} {}", version.trim());
    }
    let installed = Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--silent",
        ])
        .current_dir(&folder)
        .status()?;
    ensure!(installed.success(), "npm install ended with {installed}");
    Ok(folder)
}

/// All reminders due at once, through so many processes of graphile-worker. The table they record in is the reference loop's.
pub async fn run(
    stage: &Stage,
    folder: &Path,
    reminders: &[ReminderId],
    processes: usize,
) -> Result<Round> {
    let pool = &stage.pool;
    pool.execute(
        "drop schema if exists graphile_worker cascade;
         drop table if exists load_graphile;
         create table load_graphile (id bigint primary key, conversation text not null, state text not null default 'due',
             sent_at timestamptz) with (fillfactor = 80)",
    )
    .await?;
    let ids: Vec<i64> = reminders.iter().map(|id| id.0).collect();
    sqlx::query(
        "insert into load_graphile select id, conversation from reminders where id = any ($1)",
    )
    .bind(&ids)
    .execute(pool)
    .await?;
    let node = |arguments: &[&str]| {
        let mut command = Command::new("node");
        command.arg("worker.mjs").args(arguments);
        // `node` itself is looked for on the path of whoever runs this.
        command.current_dir(folder).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(stage.environment()).stdin(Stdio::null());
        command
    };
    let migrated = node(&["migrate"]).status()?;
    ensure!(migrated.success(), "graphile-worker's tables: {migrated}");
    let due = ledger::soon() + chrono::TimeDelta::seconds(1);
    sqlx::query(
        "select count(*) from graphile_worker.add_jobs(array(
             select ('deliver', json_build_object('id', id, 'conversation', conversation), null, $1, null, null, null, null)
                 ::graphile_worker.job_spec
             from load_graphile order by id))",
    )
    .bind(due)
    .execute(pool)
    .await?;
    pool.execute("vacuum analyze").await?;
    let mut nodes = Vec::new();
    for _ in 0..processes {
        let mut process = Process::start(node(&[]))?;
        ensure!(
            process.first_line()? == "ready",
            "graphile-worker did not start"
        );
        nodes.push(process);
    }
    let cpu = |nodes: &[Process]| nodes.iter().map(Process::cpu).sum::<Result<f64>>();
    let (before, postgres) = (cpu(&nodes)?, stage.cpu_of_postgres()?);
    until(
        "all sent by graphile-worker",
        Duration::from_mins(10),
        async || {
            let left: bool =
                sqlx::query_scalar("select exists (select from load_graphile where state = 'due')")
                    .fetch_one(pool)
                    .await?;
            Ok((!left).then_some(()))
        },
    )
    .await?;
    let round: Round = sqlx::query_as(
        "select count(*) as sent, extract(epoch from max(sent_at) - $1)::float8 as seconds,
                0::float8 as late_p50, 0::float8 as late_p99, 0::float8 as late_max
         from load_graphile where state = 'sent'",
    )
    .bind(due)
    .fetch_one(pool)
    .await?;
    let per = |seconds: f64| seconds / reminders.len() as f64 * 1e3;
    println!(
        "  graphile-worker, processes: {processes}: {:.0}/s; processor time per reminder: Node {:.2} ms, PostgreSQL {:.2} ms",
        round.rate(),
        per(cpu(&nodes)? - before),
        per(stage.cpu_of_postgres()? - postgres),
    );
    ledger::statements(pool).await?;
    Ok(round)
}
