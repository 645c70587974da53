//! What a migration does to tables that are there already, found by doing it: in a transaction on a real server, undone afterwards.
//!
//! Reading its text would miss what only the server knows: that a default is volatile, that a check reads every row, that a domain is used by
//! ten tables.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::run;
use crate::harness::migrated;

/// Of a table that was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
struct Table {
    name: String,
    /// The file that its rows are in: another one after a rewrite.
    file: i64,
    /// How often it was read from end to end in this transaction.
    read: i64,
    /// The strongest lock that this transaction has on it, as far as it keeps anybody waiting who reads or writes.
    lock: Option<String>,
}

/// As our sessions have it: what has an index to go by is found by it, so a table is read from end to end only by what must.
const SESSION: &str =
    "set local enable_seqscan = off; set local max_parallel_workers_per_gather = 0";

const TABLES: &str = "
    select c.relname::text as name, pg_relation_filenode(c.oid)::bigint as file, coalesce(s.seq_scan, 0)::bigint as read,
        (select min(mode) from pg_locks l where l.pid = pg_backend_pid() and l.relation = c.oid
            and l.mode in ('AccessExclusiveLock', 'ExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock')) as lock
    from pg_class c left join pg_stat_xact_user_tables s on s.relid = c.oid
    where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace order by 1";

/// Every column: its type, whether it must be given.
const COLUMNS: &str = "
    select format('%s.%s', c.relname, a.attname), format('%s', format_type(a.atttypid, a.atttypmod)),
        a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = ''
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace and a.attnum > 0 and not a.attisdropped";

type Columns = BTreeMap<String, (String, bool)>;

async fn tables(conn: &mut PgConnection) -> BTreeMap<String, Table> {
    let tables: Vec<Table> = sqlx::query_as(TABLES).fetch_all(conn).await.unwrap();
    tables
        .into_iter()
        .map(|table| (table.name.clone(), table))
        .collect()
}

async fn columns(conn: &mut PgConnection) -> Columns {
    let columns: Vec<(String, String, bool)> =
        sqlx::query_as(COLUMNS).fetch_all(conn).await.unwrap();
    let columns = columns.into_iter();
    columns
        .map(|(name, kind, must_be_given)| (name, (kind, must_be_given)))
        .collect()
}

/// What must not be done while reminders fall due, and what programs of the version before would stumble over.
pub async fn faults(pool: &PgPool, sql: &str) -> Vec<String> {
    if sql.starts_with("-- no-transaction") {
        return faults_of_an_index(sql);
    }
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql(SESSION).execute(&mut *tx).await.unwrap();
    let (before, columns_before) = (tables(&mut tx).await, columns(&mut tx).await);
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *tx)
        .await
        .unwrap();
    let (after, columns_after) = (tables(&mut tx).await, columns(&mut tx).await);
    tx.rollback().await.unwrap();
    let mut faults: Vec<String> = before
        .values()
        .filter_map(|table| fault(table, after.get(&table.name)))
        .collect();
    if !sql.contains("schema_compatible_from") {
        faults.extend(taken_away(&before, &columns_before, &columns_after));
    }
    faults
}

fn fault(before: &Table, after: Option<&Table>) -> Option<String> {
    let name = &before.name;
    let after = after?;
    let lock = after.lock.as_deref().unwrap_or("its rows");
    if after.file != before.file {
        Some(format!("{name} is rewritten, under {lock}"))
    } else if after.read > before.read {
        Some(format!("{name} is read from end to end, under {lock}"))
    } else {
        None
    }
}

fn taken_away(tables: &BTreeMap<String, Table>, before: &Columns, after: &Columns) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, (kind, _)) in before {
        match after.get(name) {
            None => faults.push(format!("{name} is gone")),
            Some((now, _)) if now != kind => faults.push(format!("{name} was {kind} and is {now}")),
            Some(_) => {}
        }
    }
    for (name, (_, must_be_given)) in after {
        let of_old = tables.contains_key(name.split('.').next().unwrap_or_default());
        let before = before.get(name).is_some_and(|(_, before)| *before);
        if of_old && *must_be_given && !before {
            faults.push(format!(
                "{name} must be given now, by programs that do not know it"
            ));
        }
    }
    faults
}

/// It can only be tried by doing it. One statement, which an attempt that broke off can be followed by.
fn faults_of_an_index(sql: &str) -> Vec<String> {
    let statement: Vec<&str> = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let statement = statement.join(" ").trim().to_lowercase();
    let statement = statement.trim_end_matches(';');
    let begins = [
        "create index concurrently if not exists ",
        "create unique index concurrently if not exists ",
    ];
    let is_one =
        begins.iter().any(|words| statement.starts_with(words)) && !statement.contains(';');
    if is_one {
        Vec::new()
    } else {
        vec![format!("`-- no-transaction` is for one `{}…`", begins[0])]
    }
}

#[tokio::test]
async fn what_a_migration_must_not_do_is_found_by_doing_it() {
    let db = migrated().await;
    run(
        &db.pool,
        "create table small (id int primary key, at timestamptz default now(), word text)",
    )
    .await;
    run(&db.pool, "create domain kind as text constraint known check (value in ('a')); alter table small add column kind kind").await;
    let adds = [
        "alter table small add column more text",
        "alter table small add column more int not null default 0",
        "alter table small add constraint longer check (length(word) > 1) not valid",
        "create table fresh (id int primary key, word text not null); create index on fresh (word); insert into fresh values (1, 'a')",
        "create function f() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger t after insert on small for each row execute function f()",
        "alter domain kind drop constraint known; alter domain kind add constraint known check (value in ('a', 'b')) not valid",
        "update instance set value = value where key = 'schema_compatible_from'",
        "create view both as select * from small",
        "-- no-transaction\n-- Why.\ncreate index concurrently if not exists small_at on small (at);\n",
    ];
    for sql in adds {
        assert_eq!(faults(&db.pool, sql).await, [""; 0], "{sql}");
    }
    let wrong = [
        (
            "create index on small (at)",
            "small is read from end to end, under ShareLock",
        ),
        (
            "alter table small add column more text default clock_timestamp()::text",
            "small is rewritten, under AccessExclusiveLock",
        ),
        (
            "alter table small add column more int generated always as (id + 1) stored",
            "small is rewritten, under AccessExclusiveLock",
        ),
        (
            "alter table small add constraint longer check (length(word) > 1)",
            "small is read from end to end, under AccessExclusiveLock",
        ),
        (
            "alter table small alter word set not null",
            "small is read from end to end, under AccessExclusiveLock",
        ),
        (
            "alter domain kind drop constraint known; alter domain kind add constraint known check (value in ('a', 'b'))",
            "small is read from end to end, under ShareLock",
        ),
        (
            "update small set word = ''",
            "small is read from end to end, under its rows",
        ),
        (
            "alter table small alter id type bigint",
            "small.id was integer and is bigint",
        ),
        ("alter table small drop column word", "small.word is gone"),
        (
            "alter table small rename word to term",
            "small.word is gone",
        ),
        ("drop table small", "small.at is gone"),
        (
            "alter table small add column more text not null",
            "small.more must be given now, by programs that do not know it",
        ),
        (
            "-- no-transaction\ncreate index concurrently small_at on small (at)",
            "`-- no-transaction` is for one",
        ),
        (
            "-- no-transaction\nvacuum small",
            "`-- no-transaction` is for one",
        ),
        (
            "-- no-transaction\ncreate index concurrently if not exists a on small (at); drop table small",
            "`-- no-transaction` is for one",
        ),
    ];
    for (sql, fault) in wrong {
        let found = faults(&db.pool, sql).await;
        assert!(
            found.iter().any(|found| found.starts_with(fault)),
            "{sql}: {found:?}"
        );
    }
    // What is taken away says which programs can still work with the tables.
    let honest = "alter table small drop column word; update instance set value = value where key = 'schema_compatible_from'";
    assert_eq!(faults(&db.pool, honest).await, [""; 0]);
}
