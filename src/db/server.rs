//! The server behind the tables: what `unread doctor` must know about it. Reads only.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

/// What the server says about itself and about us.
#[derive(Clone, Debug, FromRow)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own"
)]
pub struct ServerFacts {
    /// `15.4 (Debian …)`.
    pub version: String,
    /// `150004`.
    pub version_number: i32,
    pub is_replica: bool,
    pub may_create: bool,
    /// Connections that this role may hold in all: the least of what server, database and role allow.
    pub connections: i32,
    /// Connections to the server at the moment.
    pub in_use: i64,
    /// Transactions may not write, as managed servers have it when their disk is full.
    pub is_read_only: bool,
    /// Nobody on the way can read what is said.
    pub is_encrypted: bool,
    /// It is this machine, so there is no way.
    pub is_local: bool,
    /// By its clock.
    pub now: DateTime<Utc>,
}

pub async fn facts(pool: &PgPool) -> sqlx::Result<ServerFacts> {
    sqlx::query_as(
        "select current_setting('server_version') as version,
                current_setting('server_version_num')::int as version_number,
                pg_is_in_recovery() as is_replica,
                has_database_privilege(current_database(), 'create') as may_create,
                least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
                    (select nullif(datconnlimit, -1) from pg_database where datname = current_database()),
                    (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user)) as connections,
                (select count(*) from pg_stat_activity where backend_type = 'client backend') as in_use,
                current_setting('transaction_read_only')::boolean as is_read_only,
                coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as is_encrypted,
                inet_client_addr() is null or inet_client_addr() <<= inet '127.0.0.0/8' or inet_client_addr() = inet '::1' as is_local,
                clock_timestamp() as now",
    )
    .fetch_one(pool)
    .await
}

/// What its clock shows.
pub async fn now(pool: &PgPool) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(pool)
        .await
}

/// Whether each extension is there already, can be installed, or is not known to the server.
pub async fn extensions(pool: &PgPool, names: &[&str]) -> sqlx::Result<Vec<(String, Extension)>> {
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(
        "select wanted.name, installed.oid is not null, available.name is not null
         from unnest($1::text[]) as wanted (name)
         left join pg_extension installed on installed.extname = wanted.name
         left join pg_available_extensions available on available.name = wanted.name",
    )
    .bind(names)
    .fetch_all(pool)
    .await?;
    let state = |installed, available| match (installed, available) {
        (true, _) => Extension::Installed,
        (false, true) => Extension::Available,
        (false, false) => Extension::Missing,
    };
    Ok(rows
        .into_iter()
        .map(|(name, installed, available)| (name, state(installed, available)))
        .collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    Installed,
    Available,
    Missing,
}

/// Tables of the ledger and the queue that we may not read and write as the service must.
pub async fn forbidden_tables(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c
         where c.relkind in ('r', 'p')
           and c.relnamespace in (select oid from pg_namespace
                                  where nspname = current_schema() or nspname = 'apalis')
           and not (has_schema_privilege(c.relnamespace, 'usage')
                and has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
                and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'))
         order by 1",
    )
    .fetch_all(pool)
    .await
}

/// Whether a pooler between us and the server lends its connections for a transaction at a time: then an idle connection of
/// ours and a busy one can be served by the same process of the server, which never happens without such a pooler.
pub async fn pooled_by_transaction(pool: &PgPool) -> sqlx::Result<bool> {
    const WHO: &str = "select pg_backend_pid()";
    let mut idle = pool.acquire().await?;
    let first: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *idle).await?;
    let mut busy = pool.begin().await?;
    let second: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *busy).await?;
    let third: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *idle).await?;
    busy.rollback().await?;
    Ok(first == second || first != third)
}

/// A transaction of another session that may hold locks.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OpenTransaction {
    pub pid: i32,
    /// What the program calls itself.
    pub application: String,
    pub seconds: i64,
}

/// The oldest transactions on this database beside ours, for who wants to know what a lock waits for. Of other users only with the right to
/// see them.
pub async fn oldest_transactions(pool: &PgPool) -> sqlx::Result<Vec<OpenTransaction>> {
    sqlx::query_as(
        "select pid, coalesce(application_name, '') as application, extract(epoch from now() - xact_start)::bigint as seconds
         from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and xact_start < now() - interval '1 second'
         order by xact_start limit 3",
    )
    .fetch_all(pool)
    .await
}
