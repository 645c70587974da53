//! The service as real processes: two schedulers, three workers, two webs. Each comes back as a new process (a new name in the
//! queue) soon after it was killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use sqlx::PgPool;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use unread::demo;
use unread::sandbox::Sandbox;

use super::Options;
use super::servers::signal;

/// Slots of the workers.
const WORKERS: std::ops::Range<usize> = 0..3;

/// The roles, in the order of the plan's numbers.
pub const ROLES: [&str; 7] = [
    "worker",
    "worker",
    "worker",
    "scheduler",
    "scheduler",
    "web",
    "web",
];

pub struct Processes {
    program: PathBuf,
    settings: BTreeMap<String, String>,
    ports: Vec<u16>,
    folder: PathBuf,
    slots: Mutex<Vec<Slot>>,
    strikes: AtomicU32,
}

#[derive(Default)]
struct Slot {
    child: Option<Child>,
    /// How often it was started.
    lives: u32,
    kills: u32,
    freezes: u32,
}

impl Processes {
    pub fn start(sandbox: &Sandbox, database: &str, options: &Options) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!(
            "unread-chaos-{}-{}",
            std::process::id(),
            options.seed
        ));
        fs::create_dir_all(&folder)?;
        let ports = free_ports(2)?;
        let public = format!("http://127.0.0.1:{}", ports[0]);
        let mut settings = demo::environment(sandbox.endpoints());
        for (key, value) in [
            ("DATABASE_URL", database),
            ("UNREAD_PUBLIC_URL", &public),
            (
                "UNREAD_MAIL_WEBHOOK_SECRET",
                &sandbox.endpoints().smtp.events_secret,
            ),
            ("UNREAD_BIND", "127.0.0.1"),
            ("UNREAD_METRICS_BIND", "127.0.0.1"),
            ("UNREAD_METRICS_PORT", "0"),
            // The providers' and LivePerson's limits are not what is tried here.
            ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "1000"),
            ("SMTP_RATE_PER_SECOND", "500"),
            ("TWILIO_RATE_PER_SECOND", "500"),
            ("UNREAD_SCAN_INTERVAL_SECONDS", "5"),
            // Recent passes in between.
            ("UNREAD_FULL_SCAN_INTERVAL_SECONDS", "15"),
            ("UNREAD_DRAIN_SECONDS", "20"),
            ("UNREAD_LOG_FORMAT", "text"),
        ] {
            settings.insert(key.to_owned(), value.to_owned());
        }
        sandbox
            .twilio()
            .account()
            .set_inbound_url(&format!("{public}/twilio/inbound"));
        sandbox
            .smtp()
            .post_events_to(&format!("{public}/mail/events"));
        let this = Self {
            program: options.program.clone(),
            settings,
            ports,
            folder,
            slots: Mutex::new(ROLES.iter().map(|_| Slot::default()).collect()),
            strikes: AtomicU32::new(0),
        };
        for slot in 0..ROLES.len() {
            let child = this.spawn(slot)?;
            let slots = &mut this.slots.try_lock().context("nobody else has it yet")?;
            slots[slot].child = Some(child);
            slots[slot].lives = 1;
        }
        Ok(this)
    }

    fn spawn(&self, slot: usize) -> Result<Child> {
        let log = self.folder.join(format!("{}-{slot}.log", ROLES[slot]));
        let log = File::options().create(true).append(true).open(log)?;
        let port = if ROLES[slot] == "web" {
            self.ports[slot - 5]
        } else {
            0
        };
        Command::new(&self.program)
            .arg(ROLES[slot])
            // What is set for the tests is none of its settings.
            .env_clear()
            .envs(&self.settings)
            .env("PORT", port.to_string())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting a process of the service")
    }

    /// The addresses of the webs.
    pub fn web(&self) -> Vec<String> {
        let of = |port| format!("http://127.0.0.1:{port}");
        self.ports.iter().map(of).collect()
    }

    pub fn logs(&self) -> String {
        self.folder.display().to_string()
    }

    /// Waits until every worker has signed on.
    pub async fn wait_until_at_work(&self, pool: &PgPool) -> Result<()> {
        let began = Instant::now();
        loop {
            let workers: i64 = sqlx::query_scalar("select count(*) from apalis.workers")
                .fetch_one(pool)
                .await?;
            if workers >= 3 {
                return Ok(());
            }
            ensure!(
                began.elapsed() < Duration::from_mins(3),
                "the workers do not start; logs in {}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `kill -9`, and a new process after a pause. A process that is about to come back is waited for.
    pub async fn kill(&self, slot: usize, pause: Duration) {
        let began = Instant::now();
        let mut child = loop {
            if let Some(child) = self.slots.lock().await[slot].child.take() {
                break child;
            }
            if began.elapsed() > Duration::from_secs(30) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        child.kill().await.expect("kill -9 of a process of ours");
        self.slots.lock().await[slot].kills += 1;
        tokio::time::sleep(pause).await;
        self.fill(slot).await.expect("the process starts again");
    }

    /// `kill -9` of all workers at once, and new ones after a pause.
    pub async fn strike_dead(&self, pause: Duration) -> Result<()> {
        let mut struck = Vec::new();
        {
            let mut slots = self.slots.lock().await;
            for slot in WORKERS {
                if let Some(mut child) = slots[slot].child.take() {
                    child.start_kill().context("kill -9 of a worker")?;
                    slots[slot].kills += 1;
                    struck.push((slot, child));
                }
            }
        }
        self.strikes.fetch_add(1, Ordering::SeqCst);
        for (_, child) in &mut struck {
            child.wait().await?;
        }
        tokio::time::sleep(pause).await;
        for (slot, _) in struck {
            self.fill(slot).await?;
        }
        Ok(())
    }

    /// SIGSTOP for all workers at once. Others start in their place; the frozen ones wake up later, work beside them for a while
    /// and are asked to end, which they must do well.
    pub async fn replace_frozen(&self, trance: Duration) -> Result<()> {
        let mut frozen = Vec::new();
        {
            let mut slots = self.slots.lock().await;
            for slot in WORKERS {
                if let Some(child) = slots[slot].child.take() {
                    if let Some(pid) = child.id() {
                        signal(pid, Signal::STOP);
                    }
                    slots[slot].freezes += 1;
                    frozen.push((slot, child));
                }
            }
        }
        self.strikes.fetch_add(1, Ordering::SeqCst);
        for (slot, _) in &frozen {
            self.fill(*slot).await?;
        }
        tokio::time::sleep(trance).await;
        for (_, child) in &frozen {
            child
                .id()
                .into_iter()
                .for_each(|pid| signal(pid, Signal::CONT));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        for (slot, mut child) in frozen {
            child
                .id()
                .into_iter()
                .for_each(|pid| signal(pid, Signal::TERM));
            self.ended_well(slot, &mut child).await?;
        }
        Ok(())
    }

    /// A new process where there is none.
    async fn fill(&self, slot: usize) -> Result<()> {
        let fresh = self.spawn(slot)?;
        let slot = &mut self.slots.lock().await[slot];
        slot.child = Some(fresh);
        slot.lives += 1;
        Ok(())
    }

    async fn ended_well(&self, slot: usize, child: &mut Child) -> Result<()> {
        let (role, logs) = (ROLES[slot], self.logs());
        let ended = tokio::time::timeout(Duration::from_secs(40), child.wait()).await;
        let ended = ended.with_context(|| format!("a {role} does not end; logs in {logs}"))??;
        ensure!(
            ended.success(),
            "a {role} ended with {ended}; logs in {logs}"
        );
        Ok(())
    }

    /// SIGSTOP, and SIGCONT after a while, unless it was killed meanwhile.
    pub async fn freeze(&self, slot: usize, length: Duration) {
        let pid = {
            let mut slots = self.slots.lock().await;
            let Some(pid) = slots[slot].child.as_ref().and_then(Child::id) else {
                return;
            };
            signal(pid, Signal::STOP);
            slots[slot].freezes += 1;
            pid
        };
        tokio::time::sleep(length).await;
        let slots = self.slots.lock().await;
        if slots[slot].child.as_ref().and_then(Child::id) == Some(pid) {
            signal(pid, Signal::CONT);
        }
    }

    pub async fn kill_all(&self) {
        for slot in self.slots.lock().await.iter_mut() {
            if let Some(mut child) = slot.child.take() {
                child.kill().await.expect("kill -9 of a process of ours");
            }
        }
    }

    pub async fn start_all(&self) -> Result<()> {
        let mut slots = self.slots.lock().await;
        for (number, slot) in slots.iter_mut().enumerate() {
            slot.child = Some(self.spawn(number)?);
            slot.lives += 1;
        }
        Ok(())
    }

    /// Asks every process to end, which they must do well and in time.
    pub async fn stop(&self) -> Result<()> {
        let mut slots = self.slots.lock().await;
        for child in slots.iter().filter_map(|slot| slot.child.as_ref()) {
            if let Some(pid) = child.id() {
                signal(pid, Signal::TERM);
            }
        }
        for (number, slot) in slots.iter_mut().enumerate() {
            let Some(mut child) = slot.child.take() else {
                continue;
            };
            self.ended_well(number, &mut child).await?;
        }
        Ok(())
    }

    /// Strikes that fell upon all workers at once.
    pub fn strikes(&self) -> u32 {
        self.strikes.load(Ordering::SeqCst)
    }

    /// Kills and freezes by role.
    pub fn figures(&self) -> Vec<(&'static str, u32, u32)> {
        let mut by_role: Vec<(&str, u32, u32)> = Vec::new();
        let Ok(slots) = self.slots.try_lock() else {
            return by_role;
        };
        for (role, slot) in ROLES.iter().zip(slots.iter()) {
            match by_role.iter_mut().find(|(name, ..)| name == role) {
                Some((_, kills, freezes)) => {
                    *kills += slot.kills;
                    *freezes += slot.freezes;
                }
                None => by_role.push((role, slot.kills, slot.freezes)),
            }
        }
        by_role
    }
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    held.iter().map(|l| Ok(l.local_addr()?.port())).collect()
}
