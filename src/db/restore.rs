//! The database around a backup: who works on it, what is in it, and how room is made for what comes back.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, FromRow, PgConnection, PgPool};

/// How the service's sessions call themselves.
pub const APPLICATION: &str = "unread";

/// What the database shows before anything is brought back into it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DatabaseState {
    /// `150004`.
    pub version_number: i32,
    /// Sessions of the service, this one left out.
    pub sessions: i64,
    /// Whether the tables of an installation are there.
    pub is_ours: bool,
    /// Tables in the schemas that an installation has.
    pub tables: i64,
    /// Other schemas with tables in them.
    pub other_schemas: Vec<String>,
}

/// The tables of extensions do not count: they are made with the extension, and stay with it.
pub async fn state(conn: &mut PgConnection) -> sqlx::Result<DatabaseState> {
    sqlx::query_as(
        "with tables as (
             select n.nspname as schema, n.nspname in (current_schema(), 'apalis') as of_ours
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
               and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
               and not exists (select from pg_depend d
                               where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
         )
         select current_setting('server_version_num')::int as version_number,
                (select count(*) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid() and application_name = $1) as sessions,
                to_regclass('reminders') is not null and to_regclass('_sqlx_migrations') is not null as is_ours,
                (select count(*) from tables where of_ours) as tables,
                array(select distinct schema::text from tables where not of_ours order by 1) as other_schemas",
    )
    .bind(APPLICATION)
    .fetch_one(conn)
    .await
}

/// Drops what an installation has made, extensions aside: who installed them may be somebody else. For `psql`, in the transaction
/// that brings a backup back.
///
/// The schema `public` stays, since it may belong to somebody else as well; one of the service's own goes, since the backup makes it.
///
/// Each list is read to its end before its first entry goes: what a cascade took with it has no name any more.
pub const CLEAR: &str = r"
do $clear$
declare
    statement text;
begin
    drop schema if exists apalis cascade;
    if current_schema() <> 'public' then
        execute format('drop schema %I cascade', current_schema());
        return;
    end if;
    foreach statement in array array(
        select format('drop %s if exists %s cascade',
                      case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                                     when 'f' then 'foreign table' else 'table' end,
                      c.oid::regclass)
        from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
          and not exists (select from pg_depend d
                          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('e', 'i', 'a')))
    loop
        execute statement;
    end loop;
    foreach statement in array array(
        select format('drop routine if exists %s cascade', p.oid::regprocedure)
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace
          and not exists (select from pg_depend d
                          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'))
    loop
        execute statement;
    end loop;
    foreach statement in array array(
        select format('drop type if exists %s cascade', t.oid::regtype)
        from pg_type t left join pg_class c on c.oid = t.typrelid
        where t.typnamespace = 'public'::regnamespace
          and (t.typtype in ('d', 'e') or (t.typtype = 'c' and c.relkind = 'c'))
          and not exists (select from pg_depend d
                          where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'))
    loop
        execute statement;
    end loop;
end
$clear$;
";

/// Has the planner know what came in: without, it guesses until the server looks by itself. That it takes its time is nothing to be
/// warned of, nor that an ordinary role may not look at the server's own tables.
pub async fn analyze(pool: &PgPool) -> sqlx::Result<()> {
    let options = PgConnectOptions::clone(&pool.connect_options()).disable_statement_logging();
    let mut conn = options.connect().await?;
    sqlx::query("set client_min_messages = error")
        .execute(&mut conn)
        .await?;
    sqlx::query("analyze").execute(&mut conn).await?;
    conn.close().await
}

/// Bytes of the database on its disk.
pub async fn size(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select pg_database_size(current_database())")
        .fetch_one(conn)
        .await
}
