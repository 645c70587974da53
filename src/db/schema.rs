//! Which tables there are, and whether this program can work with them.
//!
//! In a roll-out old and new processes share the tables. The new ones need every migration they know. The old ones meet migrations
//! that they do not know, and must go on, also after a restart: migrations only add. One that takes something away says in the
//! database which programs can still work with it (`schema_compatible_from`); older ones stop.
//!
//! Before 1.0 a change edits the baseline instead (migrations/README.md). Tables of another baseline are told by their migrations'
//! names and checksums, and nobody works on them: what is worth keeping is carried over by hand.

use std::collections::BTreeMap;

use sqlx::PgPool;
use sqlx::migrate::Migrator;

static MIGRATOR: Migrator = sqlx::migrate!();

/// Tables that this program can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Exactly those it knows.
    Own,
    /// Those of a newer program, which have all that this one uses.
    Newer,
}

#[derive(Debug, thiserror::Error)]
pub enum SchemaProblem {
    #[error(
        "the database is not migrated (migration {missing} is missing): run `unread migrate` first"
    )]
    Behind { missing: i64 },
    #[error(
        "the database was migrated by a newer version of unread (migration {unknown}), which this one cannot work beside: use that \
         version"
    )]
    Ahead { unknown: i64 },
    #[error(
        "the tables of the database were made by another version of unread from before 1.0 (migration {migration} is not this \
         version's) and cannot be brought up to date. Carry rules and opt-outs over. {CARRY_OVER}"
    )]
    OtherBaseline { migration: i64 },
    #[error("the database cannot be read: {0}")]
    Unreachable(#[from] sqlx::Error),
}

impl SchemaProblem {
    /// Nothing was ever migrated: the database is new.
    pub fn is_without_tables(&self) -> bool {
        let first = MIGRATOR.iter().map(|m| m.version).min();
        matches!(self, Self::Behind { missing } if Some(*missing) == first)
    }
}

/// What to do about tables of another baseline. docs/operate.md has it at length.
pub const CARRY_OVER: &str = "With the version that made them: `unread rules export > rules.toml` and `unread suppressions export \
    suppressions.csv`. Then, with this version, an empty database and the same UNREAD_SECRET: `unread migrate`, `unread rules import \
    rules.toml` and `unread suppressions import suppressions.csv`. docs/operate.md, Upgrade, tells what else to know";

/// Brings the ledger's tables up to date. The queue's are migrated by `jobs::queue`.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    super::migrations::apply(pool, &MIGRATOR).await
}

/// How many migrations the tables lack.
pub async fn missing_migrations(pool: &PgPool) -> sqlx::Result<usize> {
    let applied = applied(pool).await?;
    Ok(known().keys().filter(|v| !applied.contains_key(v)).count())
}

/// The newest migration that this program knows.
pub fn newest_migration() -> i64 {
    MIGRATOR.iter().map(|m| m.version).max().unwrap_or_default()
}

/// Whether this program can work with the tables as they are.
pub async fn check_schema(pool: &PgPool) -> Result<Schema, SchemaProblem> {
    let known = known();
    let Some(unknown) = unknown(&known, &applied(pool).await?)? else {
        return Ok(Schema::Own);
    };
    let newest = known.keys().max().copied().unwrap_or_default();
    if compatible_from(pool)
        .await?
        .is_some_and(|oldest| newest >= oldest)
    {
        Ok(Schema::Newer)
    } else {
        Err(SchemaProblem::Ahead { unknown })
    }
}

/// Migrations, oldest first, with the checksum of what each of them does.
type Migrations = BTreeMap<i64, Vec<u8>>;

fn known() -> Migrations {
    MIGRATOR
        .iter()
        .map(|m| (m.version, m.checksum.to_vec()))
        .collect()
}

/// Where the tables have all that this program knows: the first migration that it does not know, if there is one.
fn unknown(known: &Migrations, applied: &Migrations) -> Result<Option<i64>, SchemaProblem> {
    let edited = applied
        .iter()
        .find(|(version, checksum)| known.get(version).is_some_and(|ours| ours != *checksum));
    if let Some((&migration, _)) = edited {
        return Err(SchemaProblem::OtherBaseline { migration });
    }
    let unknown = applied.keys().find(|v| !known.contains_key(v)).copied();
    let missing = known.keys().find(|v| !applied.contains_key(v)).copied();
    let newest = known.keys().max().copied().unwrap_or_default();
    match (missing, unknown) {
        (None, unknown) => Ok(unknown),
        (Some(missing), None) => Err(SchemaProblem::Behind { missing }),
        // Neither set has all of the other, so neither was made out of the other.
        (Some(_), Some(migration)) if migration < newest => {
            Err(SchemaProblem::OtherBaseline { migration })
        }
        (Some(_), Some(unknown)) => Err(SchemaProblem::Ahead { unknown }),
    }
}

async fn applied(pool: &PgPool) -> sqlx::Result<Migrations> {
    let table: Option<String> = sqlx::query_scalar("select to_regclass('_sqlx_migrations')::text")
        .fetch_one(pool)
        .await?;
    if table.is_none() {
        return Ok(Migrations::new());
    }
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success")
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().collect())
}

/// The newest migration that a program must know at least.
async fn compatible_from(pool: &PgPool) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select value::bigint from instance where key = 'schema_compatible_from'")
        .fetch_optional(pool)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: [(i64, &str); 2] = [(20_261_130_000_100, "a"), (20_261_130_000_200, "b")];

    fn told(applied: &[(i64, &str)]) -> Result<Option<i64>, String> {
        let set = |of: &[(i64, &str)]| -> Migrations {
            of.iter()
                .map(|(version, sum)| (*version, sum.as_bytes().to_vec()))
                .collect()
        };
        unknown(&set(&BASELINE), &set(applied)).map_err(|problem| match problem {
            SchemaProblem::Behind { missing } => format!("behind {missing}"),
            SchemaProblem::Ahead { unknown } => format!("ahead {unknown}"),
            SchemaProblem::OtherBaseline { migration } => format!("other {migration}"),
            SchemaProblem::Unreachable(error) => error.to_string(),
        })
    }

    #[test]
    fn tables_that_have_all_of_this_program_are_its_own_or_newer() {
        let [first, second] = BASELINE;
        assert_eq!(told(&[first, second]), Ok(None));
        let later = (20_270_301_000_100, "c");
        assert_eq!(told(&[first, second, later]), Ok(Some(later.0)));
    }

    #[test]
    fn tables_that_have_only_some_of_it_are_behind() {
        let [first, second] = BASELINE;
        assert_eq!(told(&[]), Err(format!("behind {}", first.0)));
        assert_eq!(told(&[first]), Err(format!("behind {}", second.0)));
    }

    #[test]
    fn tables_of_another_baseline_are_told_by_name_and_by_checksum() {
        let [first, second] = BASELINE;
        assert_eq!(told(&[(1, "x"), (2, "y")]), Err("other 1".to_owned()));
        assert_eq!(
            told(&[first, (second.0, "edited")]),
            Err(format!("other {}", second.0))
        );
        // A later baseline that has a file less may as well be a newer version.
        let later = (20_270_301_000_100, "c");
        assert_eq!(told(&[first, later]), Err(format!("ahead {}", later.0)));
    }
}
