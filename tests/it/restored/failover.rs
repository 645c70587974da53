//! The database server is lost, and its replica takes its place, under processes that live on.

use chrono::SecondsFormat;
use sqlx::PgPool;
use unread::clock::Clock;
use unread::db;
use unread::domain::hold::HoldKind;
use unread::journal::{self, JournalFile};
use unread::sandbox::Sandbox;

use crate::database::{OwnServer, Replica, own_server};
use crate::harness::{eventually, migrate, skipped};
use crate::process::{Folder, Process, Settings, run, text};
use crate::roles::{answered, sandbox, settings_for};
use crate::wire::Switch;

/// A server and its replica, an address that leads to the one that works, and the service.
struct Pair {
    primary: OwnServer,
    /// Until it takes over.
    replica: Option<Replica>,
    switch: Switch,
    pool: PgPool,
    sandbox: Sandbox,
    folder: Folder,
}

impl Pair {
    /// Nothing if PostgreSQL's programs here cannot make one.
    async fn new() -> Option<Self> {
        let primary = own_server().await;
        if !primary.has_pg_basebackup().await {
            skipped("PostgreSQL's programs here have no pg_basebackup");
            return None;
        }
        let replica = Some(primary.replica().await);
        let switch = Switch::to(primary.root().join("s")).await;
        let pool = db::pool(switch.url().parse().unwrap(), 2);
        migrate(&pool).await.unwrap();
        Some(Self {
            primary,
            replica,
            switch,
            pool,
            sandbox: sandbox().await,
            folder: Folder::new(),
        })
    }

    fn journal(&self) -> JournalFile {
        JournalFile::at(self.folder.path().join("journal.jsonl"))
    }

    /// Of a process; one of them keeps the journal.
    fn settings(&self, keeps: bool) -> Settings {
        let file = self.journal();
        let mut more = vec![
            ("UNREAD_SECRET", "a-key-that-outlives-the-database-0123"),
            ("SMTP_RATE_PER_SECOND", "1000"),
        ];
        if keeps {
            more.push(("UNREAD_JOURNAL_FILE", file.path().to_str().unwrap()));
        }
        settings_for(&self.sandbox, &self.switch.url(), &more)
    }

    /// A scheduler and two workers, of which one has a journal's file beside which it remembers the database.
    fn service(&self) -> Vec<Process> {
        let of = |role, keeps| Process::start(&[role], &self.settings(keeps));
        vec![
            of("scheduler", false),
            of("worker", true),
            of("worker", false),
        ]
    }

    /// From now on a commit is on both.
    async fn wait_for_the_replica(&self) {
        let wait = [
            "alter system set synchronous_standby_names = '*'",
            "select pg_reload_conf()",
        ];
        self.primary.execute(&wait).await;
        let waits = "select exists (select from pg_stat_replication where sync_state = 'sync')";
        eventually("commits wait for the replica", async || {
            self.primary.says(waits).await
        })
        .await;
    }

    fn mails(&self, to: &str) -> usize {
        self.sandbox.outbox().mails_to(to).len()
    }

    async fn arrives(&self, to: &str) {
        eventually(&format!("a mail to {to} arrives"), async || {
            self.mails(to) == 1
        })
        .await;
    }

    fn replica(&self) -> &Replica {
        self.replica.as_ref().expect("it has not taken over")
    }

    /// The state of a conversation's first reminder, and why.
    async fn state(&self, conversation: &str) -> Option<String> {
        let asked = sqlx::query_scalar(
            "select state || coalesce(' ' || reason, '') from reminders where conversation = $1 and step = 1",
        )
        .bind(conversation)
        .fetch_optional(&self.pool);
        // A connection to the old server is found broken at its next use.
        asked.await.ok().flatten()
    }

    /// `kill -9` of the server, and its replica takes its place. What it has received it does before.
    async fn fail_over(&mut self) {
        self.primary.kill().await;
        let replica = self.replica.take().expect("it has not taken over");
        let promoted = replica.promote().await;
        self.switch.turn_to(promoted.root().join("s"));
        self.primary = promoted;
    }

    async fn held(&self) -> Vec<HoldKind> {
        let mut holds = None;
        eventually("the server says what is held", async || {
            // A connection to the old server is found broken at its next use.
            holds = db::holds::active(&self.pool).await.ok();
            holds.is_some()
        })
        .await;
        holds.unwrap().into_iter().map(|hold| hold.kind).collect()
    }

    async fn end(self, service: Vec<Process>) {
        for mut process in service {
            assert!(process.terminate().await.success());
        }
        self.pool.close().await;
        self.sandbox.stop().await;
    }
}

fn address(n: i64) -> String {
    format!("visitor{n}@example.net")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_that_loses_nothing_what_is_in_time_goes_out_once_and_nothing_is_held() {
    const VISITORS: i64 = 40;
    let Some(mut pair) = Pair::new().await else {
        return;
    };
    pair.wait_for_the_replica().await;
    let service = pair.service();
    answered(&pair.sandbox, "before@example.net", 0);
    pair.arrives("before@example.net").await;
    // However far behind it is with doing what it has received.
    pair.replica()
        .execute(&["select pg_wal_replay_pause()"])
        .await;

    // They fall due before, while and after nobody is there to write it down.
    let visitors = (0..VISITORS).map(|n| (answered(&pair.sandbox, &address(n), 2 + n / 8), n));
    let visitors: Vec<(String, i64)> = visitors.collect();
    pair.arrives(&address(0)).await;
    pair.fail_over().await;

    let mut sent = Vec::new();
    for (conversation, _) in &visitors {
        let mut state = None;
        eventually("what became of it is known", async || {
            state = pair.state(conversation).await;
            state
                .as_deref()
                .is_some_and(|state| state == "sent" || state.starts_with("unknown"))
        })
        .await;
        sent.push(state.as_deref() == Some("sent"));
    }
    answered(&pair.sandbox, "after@example.net", 0);
    pair.arrives("after@example.net").await;
    for ((_, n), sent) in visitors.iter().zip(&sent) {
        let mails = pair.mails(&address(*n));
        assert!(if *sent { mails == 1 } else { mails <= 1 }, "{n}: {mails}");
    }
    // Only what was under way at that moment is unknown: eight at a time.
    let unknown = sent.iter().filter(|sent| !**sent).count();
    assert!(unknown <= 16, "{unknown} of {VISITORS} are unknown");
    assert_eq!(pair.held().await, []);
    for process in &service {
        assert!(!process.log().contains("is on hold"), "{}", process.log());
    }
    pair.end(service).await;
}

/// Without an address that leads to whichever works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_know_both_servers_go_to_the_one_that_takes_over() {
    let Some(mut pair) = Pair::new().await else {
        return;
    };
    pair.wait_for_the_replica().await;
    // The replica comes first, and takes no changes yet.
    let both = format!(
        "postgres:///postgres?host={},{}&user=postgres&target_session_attrs=read-write",
        pair.replica().socket().display(),
        pair.primary.root().join("s").display()
    );
    let more = [
        ("UNREAD_SECRET", "a-key-that-outlives-the-database-0123"),
        ("SMTP_RATE_PER_SECOND", "1000"),
    ];
    let settings = settings_for(&pair.sandbox, &both, &more);
    let service: Vec<Process> = ["scheduler", "worker"]
        .iter()
        .map(|role| Process::start(&[role], &settings))
        .collect();
    answered(&pair.sandbox, "before@example.net", 0);
    pair.arrives("before@example.net").await;
    let told = run(&["doctor"], &settings).await;
    assert!(
        text(&told.stdout).contains("1 takes changes, 1 only read"),
        "{}",
        text(&told.stdout)
    );

    pair.fail_over().await;
    answered(&pair.sandbox, "after@example.net", 0);
    pair.arrives("after@example.net").await;
    assert_eq!(pair.held().await, []);
    for process in &service {
        let log = process.log();
        assert!(
            log.contains("Another server of DATABASE_URL takes changes now"),
            "{log}"
        );
    }
    // A command that begins now finds it, too.
    let exported = run(&["rules", "export"], &settings).await;
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    pair.end(service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lagged_behind_is_held_and_nobody_is_written_to_twice_or_after_a_no() {
    let Some(mut pair) = Pair::new().await else {
        return;
    };
    let service = pair.service();
    answered(&pair.sandbox, "before@example.net", 0);
    pair.arrives("before@example.net").await;
    let chats = [("lost", 30), ("no", 60), ("erased", 60)].map(|(name, seconds)| {
        let address = format!("{name}@example.net");
        answered(&pair.sandbox, &address, seconds)
    });
    for chat in &chats {
        eventually("its reminder waits", async || {
            pair.state(chat).await.as_deref() == Some("scheduled")
        })
        .await;
    }
    let done = "select replay_lsn >= pg_current_wal_lsn() from pg_stat_replication";
    eventually("the replica has that", async || {
        pair.primary.says(done).await
    })
    .await;

    // From here on it gets nothing any more.
    let lost_from = Clock::System.now();
    let cut = [
        "alter system set primary_conninfo = ''",
        "select pg_reload_conf()",
    ];
    pair.replica().execute(&cut).await;
    let alone = "select not exists (select from pg_stat_replication)";
    eventually("it gets nothing", async || pair.primary.says(alone).await).await;
    assert_eq!(pair.mails("lost@example.net"), 0, "it is not due yet");
    let settings = pair.settings(true);
    let mut commands = [
        &["suppressions", "add", "no@example.net"][..],
        &["erase", "--email", "erased@example.net"],
    ];
    for command in &mut commands {
        let done = run(command, &settings).await;
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    eventually("the journal has both", async || {
        journal::entries(pair.journal().read().unwrap()).len() == 2
    })
    .await;
    pair.arrives("lost@example.net").await;
    let counter: i64 = sqlx::query_scalar("select counter from heartbeat")
        .fetch_one(&pair.pool)
        .await
        .unwrap();
    eventually("every process has beaten since", async || {
        let behind = "select bool_and(counter > $1) from beats";
        let beaten = sqlx::query_scalar(behind).bind(counter);
        beaten.fetch_one(&pair.pool).await.unwrap()
    })
    .await;
    pair.fail_over().await;

    eventually("everything is held", async || {
        pair.held().await == [HoldKind::Restored]
    })
    .await;
    // What somebody has got is due once more, and waits.
    eventually("it was looked at", async || {
        pair.state(&chats[0]).await.as_deref() == Some("scheduled held")
    })
    .await;
    let lost_from = lost_from.to_rfc3339_opts(SecondsFormat::Secs, true);
    let restored = run(&["restored", "--lost-from", &lost_from], &settings).await;
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let said = text(&restored.stdout);
    assert!(
        said.contains("1 email reminders may have been sent"),
        "{said}"
    );
    assert!(said.contains("1 conversations erased again"), "{said}");

    answered(&pair.sandbox, "after@example.net", 0);
    let again = answered(&pair.sandbox, "no@example.net", 0);
    pair.arrives("after@example.net").await;
    eventually("who said no is not written to", async || {
        pair.state(&again).await.as_deref() == Some("cancelled blocked")
    })
    .await;
    // Due meanwhile, or by now.
    eventually(
        "nor is that reminded of which was known before",
        async || {
            let state = pair.state(&chats[1]).await.unwrap_or_default();
            ["cancelled blocked", "unknown restored"].contains(&state.as_str())
        },
    )
    .await;
    assert_eq!(pair.state(&chats[2]).await, None, "it is erased");
    let mails = ["lost", "no", "erased"];
    let mails = mails.map(|name| pair.mails(&format!("{name}@example.net")));
    assert_eq!(mails, [1, 0, 0]);
    assert_eq!(pair.held().await, []);
    pair.end(service).await;
}
