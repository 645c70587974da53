//! The process, its database, its journal, and how it goes live; its worker, what it keeps and what it logs.

use super::{SettingKey, key, preset, secret};

#[rustfmt::skip]
pub const PROCESS: &[SettingKey] = &[
    SettingKey { env: "UNREAD_CONFIG", file: None, default: None, secret: false, about:
        "Path of the TOML file; `--config` comes first. Left out: `unread.toml` in the working folder, if there is one." },
    secret("DATABASE_URL", "database_url",
        "PostgreSQL to use, `postgres://user:password@host/name`; of several hosts (`one,two:5433`) the one that takes changes. Left out, `run` and `demo` start a PostgreSQL of their own, and commands work on that of `run`; roles in processes of their own need it."),
    preset("UNREAD_DATABASE_CONNECTIONS", "database_connections", "20",
        "Connections to PostgreSQL that one process may hold. A process with the web role keeps three of them open."),
    key("UNREAD_DATABASE_CONNECTIONS_IN_ALL", "database_connections_in_all",
        "How many connections all processes together may come to hold, for `doctor`, which compares it with what the server allows. Left out: it knows of one process."),
    key("UNREAD_DATA_DIR", "data_dir",
        "Folder for the PostgreSQL that `run` starts itself, and for its backups. Left out, one is chosen and named in the log."),
    preset("UNREAD_BACKUPS_KEPT", "backups_kept", "7",
        "How many nightly backups of that PostgreSQL are kept, in the folder `backups` beside it; 0 makes none."),
    key("UNREAD_POSTGRES_BIN", "postgres_bin",
        "Folder with `postgres` and `initdb`. Left out, `PATH` and the usual places are searched."),
    key("UNREAD_DNS_SERVER", "dns_server",
        "DNS server that `doctor` asks about the sender's domain, `192.0.2.53`, also with a port. Left out: those of the machine."),
    secret("UNREAD_SECRET", "secret",
        "Key for address hashes, 32 characters or more. Left out, one is made once and kept in the database, beside the hashes: then \
         anyone with a copy of the database can find out addresses by guessing. How it is changed: docs/data-protection.md."),
    secret("UNREAD_SECRET_OLD", "secret_old",
        "Keys that `UNREAD_SECRET` replaced, a list, the newest first: what was hashed with them is still recognised, so that no one who \
         opted out gets a message."),
    key("UNREAD_JOURNAL_FILE", "journal_file",
        "File outside the database in which opt-outs, complaints and erasures are noted as keyed hashes, and beside it (`.heartbeat`) the \
         last heartbeat, so that a restored backup is recognised and no one who opted out gets a message (docs/operate.md). Needs \
         `UNREAD_SECRET`. Left out: `run` keeps `journal.jsonl` in the folder of its own PostgreSQL; other roles have none."),
    key("UNREAD_JOURNAL_URL", "journal_url",
        "Address to which the same entries are posted (docs/webhooks.md). Needs `UNREAD_SECRET` and `UNREAD_JOURNAL_SECRET`. Left out: nowhere."),
    secret("UNREAD_JOURNAL_SECRET", "journal_secret",
        "Key that signs what is posted to `UNREAD_JOURNAL_URL` (`echo whsec_$(openssl rand -base64 32)`)."),
    preset("UNREAD_JOURNAL_KEEP_DAYS", "journal_keep_days", "35",
        "Days after which entries of erasures are removed from the file: as long as the oldest backup that may be restored."),
    preset("UNREAD_LIVE", "live", "false",
        "Go live by itself, with every channel for which nothing stands in the way, a test message aside: reminders go out for what agents write from then on. What a person has taken back it leaves alone. It needs the answers that a person is asked for, in the two settings below. `false`: a person goes live, on the dashboard or with `unread live`."),
    key("UNREAD_LIVE_OTHER_INSTALLATION", "live_other_installation",
        "For `UNREAD_LIVE`: whether another installation reminds the same customers: `none`, `stopped` or `sends`. Kept in the audit trail. Left out: no channel goes live by itself."),
    key("UNREAD_SMS_CONSENT", "sms_consent",
        "For `UNREAD_LIVE`: how customers agreed to text messages: `form`, `conversation`, or a sentence that says how. Kept in the audit trail. Left out: SMS does not go live by itself."),
];

#[rustfmt::skip]
pub const WORKER: &[SettingKey] = &[
    preset("UNREAD_WORKER_SLOTS", "worker.slots", "32",
        "Reminders of one channel that one worker may have in hand at once. With several accounts no one has more than half of them, and each has some of its own, for which there are at least two for each account."),
    preset("UNREAD_DRAIN_SECONDS", "worker.drain_seconds", "25",
        "How long a process that was told to stop may finish what it has in hand."),
];

#[rustfmt::skip]
pub const RETENTION: &[SettingKey] = &[
    preset("UNREAD_RETENTION_CONVERSATIONS_DAYS", "retention.conversations_days", "30",
        "Days that a closed conversation and its consumer are kept."),
    preset("UNREAD_RETENTION_REMINDERS_DAYS", "retention.reminders_days", "400",
        "Days that a finished reminder and its attempts are kept."),
    preset("UNREAD_RETENTION_DECISIONS_DAYS", "retention.decisions_days", "30",
        "Days that decisions are kept."),
    preset("UNREAD_RETENTION_AUDIT_DAYS", "retention.audit_days", "730",
        "Days that the audit log is kept."),
    preset("UNREAD_RETENTION_JOBS_DAYS", "retention.jobs_days", "2",
        "Days that finished jobs of the queue are kept."),
];

#[rustfmt::skip]
pub const LOG: &[SettingKey] = &[
    key("UNREAD_LOG_FORMAT", "log.format",
        "`text` or `json`. Left out: `text` on a terminal, else `json`."),
    preset("UNREAD_LOG_LEVEL", "log.level", "info",
        "`error`, `warn`, `info`, `debug` or `trace`; also by part, `info,unread::jobs=debug`. `unread log-level` changes it while the process runs. `unread demo` logs `warn` where nothing is set."),
    key("OTEL_EXPORTER_OTLP_ENDPOINT", "log.otlp_url",
        "OpenTelemetry collector to send spans of jobs and requests to, by HTTP: `http://collector:4318`. Only builds with the feature `otlp` do. Left out: none are sent."),
    key("OTEL_SERVICE_NAME", "log.service_name",
        "What the collector calls this process. Left out: `unread-` and its role, such as `unread-worker`."),
];
