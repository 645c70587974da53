//! How PostgreSQL answered each statement: rows and pages it looked at, against rows asked for, returned or changed.
//!
//! The plans are those that the service's own statements were run with, prepared ones included; `auto_explain` writes them into
//! the server's log, which only this benchmark's server does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::Value;
use sqlx::{Executor as _, PgPool};

/// Rows looked at for each row that is asked for, returned or changed: a statement may read a reminder, its attempt and its last
/// decision. Beside that, a few rows of small tables, such as rules and limits.
const ROWS_EACH: i64 = 4;
const ROWS_BESIDE: i64 = 50;

/// Pages for each of these rows: the way down an index is three or four of a million rows, and a new version of a row goes that
/// way in every index.
const PAGES_EACH: i64 = 60;
const PAGES_BESIDE: i64 = 600;

/// Statements that read more than they return, and why that is right.
const KNOWN: [(&str, &str); 2] = [
    (
        "select id from conversations where account = $1 and skill = any ($2) and open and started_at >= $3",
        "once per page of a full pass, which has read the same conversations from LivePerson",
    ),
    (
        "select c.id from conversations c where c.account = $1 and c.open and c.seen_at < $2",
        "once per deep scan, the same",
    ),
];

/// A server that explains.
pub struct Explaining {
    log: PathBuf,
    from: usize,
}

pub async fn begin(pool: &PgPool, log: PathBuf) -> Result<Explaining> {
    for setting in [
        "alter system set auto_explain.log_analyze = on",
        "alter system set auto_explain.log_buffers = on",
        "alter system set auto_explain.log_timing = off",
        "alter system set auto_explain.log_nested_statements = on",
        "alter system set auto_explain.log_format = 'json'",
        "alter system set auto_explain.log_min_duration = 0",
    ] {
        pool.execute(setting).await?;
    }
    // Only PostgreSQL 16 and newer would write down parameters, and has the setting that keeps it from doing so.
    let _ = pool
        .execute("alter system set auto_explain.log_parameter_max_length = 0")
        .await;
    let from = std::fs::metadata(&log)?.len();
    pool.execute("select pg_reload_conf()").await?;
    Ok(Explaining {
        log,
        from: usize::try_from(from)?,
    })
}

impl Explaining {
    pub async fn end(self, pool: &PgPool) -> Result<Plans> {
        pool.execute("alter system set auto_explain.log_min_duration = -1")
            .await?;
        pool.execute("select pg_reload_conf()").await?;
        let log = std::fs::read(&self.log)?;
        Ok(Plans::parse(&String::from_utf8_lossy(&log[self.from..])))
    }
}

/// By statement, the call that looked at most.
pub struct Plans(BTreeMap<String, Plan>);

#[derive(Clone, Debug, Default)]
struct Plan {
    calls: usize,
    /// Rows of tables that were looked at.
    looked_at: i64,
    pages: i64,
    /// Rows that were given as arguments, returned or changed, whichever is most.
    due: i64,
    through: BTreeSet<String>,
}

impl Plans {
    /// An entry is a line that ends with `plan:` and the plan behind it, each line of which begins with a tabulator.
    fn parse(log: &str) -> Self {
        let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
        for entry in log.split("plan:\n").skip(1) {
            let json: String = entry
                .lines()
                .map_while(|line| line.strip_prefix('\t'))
                .flat_map(|line| [line, "\n"])
                .collect();
            let Ok(entry) = serde_json::from_str::<Value>(&json) else {
                continue;
            };
            let Some(sql) = entry["Query Text"].as_str() else {
                continue;
            };
            let mut plan = Plan {
                due: rows(&entry["Plan"]),
                pages: pages(&entry["Plan"]),
                ..Plan::default()
            };
            plan.add(&entry["Plan"]);
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            let worst = plans.entry(sql).or_default();
            let calls = worst.calls + 1;
            if plan.excess() >= worst.excess() || calls == 1 {
                *worst = plan;
            }
            worst.calls = calls;
        }
        Self(plans)
    }

    /// Prints every statement and fails if one looked at more than its result explains.
    pub fn judge(self) -> Result<()> {
        println!(
            "  calls  looked at  due  pages  through; statement (of each the call that looked at most)"
        );
        let mut unbounded = Vec::new();
        for (sql, plan) in &self.0 {
            let short: String = sql.chars().take(90).collect();
            let through: Vec<&str> = plan.through.iter().map(String::as_str).collect();
            println!(
                "  {:5}  {:9}  {:3}  {:5}  {}; {short}",
                plan.calls,
                plan.looked_at,
                plan.due,
                plan.pages,
                through.join(", ")
            );
            if let Some((_, why)) = KNOWN.iter().find(|(known, _)| sql.starts_with(known)) {
                println!("         known: {why}");
            } else if plan.excess() > 0 {
                unbounded.push(short);
            }
        }
        if self.0.is_empty() {
            bail!("the server explained nothing");
        }
        if !unbounded.is_empty() {
            bail!("looked at more than was due: {unbounded:#?}");
        }
        println!(
            "all {} statements: at most {ROWS_EACH} rows looked at for each row due (and {ROWS_BESIDE} beside)",
            self.0.len()
        );
        Ok(())
    }
}

impl Plan {
    /// How much more was looked at than is allowed.
    fn excess(&self) -> i64 {
        let rows = self.looked_at - ROWS_EACH * self.due - ROWS_BESIDE;
        let pages = self.pages - PAGES_EACH * self.due - PAGES_BESIDE;
        rows.max(pages)
    }

    fn add(&mut self, node: &Value) {
        let kind = node["Node Type"].as_str().unwrap_or_default();
        if let Some(name) = node["Index Name"].as_str() {
            self.through.insert(name.to_owned());
        }
        match (kind, node["Relation Name"].as_str()) {
            // Arguments, and the rows that a trigger is told of.
            ("Function Scan" | "Named Tuplestore Scan", _) => self.due = self.due.max(rows(node)),
            (scan, Some(table)) if scan.ends_with("Scan") => {
                self.looked_at += rows(node) + removed(node);
                if scan == "Seq Scan" {
                    self.through.insert(format!("all of {table}"));
                }
            }
            _ => {}
        }
        for child in node["Plans"].as_array().into_iter().flatten() {
            if kind == "ModifyTable" {
                self.due = self.due.max(rows(child));
            }
            self.add(child);
        }
    }
}

fn number(node: &Value, key: &str) -> i64 {
    node[key].as_f64().unwrap_or_default() as i64
}

/// PostgreSQL tells averages per loop.
fn rows(node: &Value) -> i64 {
    number(node, "Actual Rows") * number(node, "Actual Loops")
}

fn removed(node: &Value) -> i64 {
    let kinds = ["Rows Removed by Filter", "Rows Removed by Index Recheck"];
    kinds.map(|kind| number(node, kind)).iter().sum::<i64>() * number(node, "Actual Loops")
}

fn pages(node: &Value) -> i64 {
    number(node, "Shared Hit Blocks") + number(node, "Shared Read Blocks")
}
