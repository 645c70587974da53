//! The first look: is it well, what did it do today, what needs a person, what comes next.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use sqlx::PgPool;

use super::Error;
use crate::db;
use crate::db::circuits::Circuit;
use crate::db::pages::{Reminder, Scan};
use crate::db::tallies::{Every, Sums};
use crate::domain::ids::{AccountId, Channel};
use crate::domain::trouble::Trouble;
use crate::jobs::queue;

/// The last complete scan may be this old before somebody should ask why.
const STALE_SCAN: TimeDelta = TimeDelta::minutes(10);

/// Reminders in the list of what comes next.
const NEXT: i64 = 10;

#[derive(Clone, Debug)]
pub struct Overview {
    pub now: DateTime<Utc>,
    pub health: Health,
    /// What needs a person, worst first.
    pub attention: Vec<Attention>,
    /// Since midnight in the zone asked for, by channel.
    pub today: Vec<(Channel, Sums)>,
    /// Open conversations with something unread, as the last scans saw them.
    pub unread_now: i64,
    pub open_now: i64,
    /// Reminders that wait for their moment.
    pub waiting: i64,
    pub next: Vec<Reminder>,
    pub scans: Vec<Scan>,
}

impl Overview {
    /// Today's numbers of all channels together.
    pub fn total(&self) -> Sums {
        self.today
            .iter()
            .fold(Sums::default(), |all, (_, of)| all.plus(of))
    }
}

/// How it is, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub level: Level,
    pub sentence: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Bad,
    Warn,
    Waiting,
    Good,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Waiting => "waiting",
            Self::Good => "good",
        }
    }
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    pub level: Level,
    pub what: String,
    /// What to do about it.
    pub mend: String,
    pub about: About,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Channels,
    Scans,
    /// Reminders in this state.
    Reminders(&'static str),
}

pub async fn overview(
    pool: &PgPool,
    accounts: &[AccountId],
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Overview, Error> {
    let words: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let midnight = midnight(now, zone);
    let mut today = Vec::new();
    // By the hour, since a day may begin or end where the clocks change.
    let points = db::tallies::series(pool, &words, (midnight, now), Every::Day, "UTC").await?;
    for channel in Channel::ALL {
        let own = points.iter().filter(|p| p.channel == channel.as_str());
        today.push((
            channel,
            own.fold(Sums::default(), |all, p| all.plus(&p.sums)),
        ));
    }
    let scans: Vec<Scan> = db::pages::scans(pool)
        .await?
        .into_iter()
        .filter(|scan| words.contains(&scan.account.as_str()))
        .collect();
    let circuits = db::circuits::open_ones(pool).await?;
    let sum = |pick: fn(&Sums) -> i64| today.iter().map(|(_, sums)| pick(sums)).sum::<i64>();
    let troubles = Troubles {
        scans: &scans,
        circuits: &circuits,
        failed: sum(|s| s.failed),
        unknown: sum(|s| s.unknown),
        expired: sum(|s| s.expired),
        dead: queue::dead(pool).await?,
    };
    Ok(Overview {
        now,
        health: Health::of(&scans, &circuits, now),
        attention: troubles.attention(now),
        unread_now: scans.iter().map(|s| i64::from(s.unread)).sum(),
        open_now: scans.iter().map(|s| i64::from(s.conversations)).sum(),
        waiting: db::tallies::waiting(pool, &words).await?,
        next: db::pages::due_next(pool, NEXT).await?,
        scans,
        today,
    })
}

/// One piece of a series: an hour or a day.
#[derive(Clone, Debug)]
pub struct Piece {
    pub at: DateTime<Utc>,
    pub email: Sums,
    pub sms: Sums,
}

/// A span of time, in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Since midnight, by the hour.
    Today,
    /// Today and the days before, by the day.
    Days(u8),
}

/// What happened, piece by piece, also where nothing did.
pub async fn series(
    pool: &PgPool,
    accounts: &[AccountId],
    span: Span,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Vec<Piece>, Error> {
    let words: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let starts = starts(span, zone, now);
    let from = starts.first().copied().unwrap_or(now);
    let every = match span {
        Span::Today => Every::Hour,
        Span::Days(_) => Every::Day,
    };
    let points = db::tallies::series(pool, &words, (from, now), every, zone.name()).await?;
    Ok(starts
        .into_iter()
        .map(|at| {
            let of = |channel: Channel| {
                points
                    .iter()
                    .filter(|p| p.at == at && p.channel == channel.as_str())
                    .fold(Sums::default(), |all, p| all.plus(&p.sums))
            };
            Piece {
                at,
                email: of(Channel::Email),
                sms: of(Channel::Sms),
            }
        })
        .collect())
}

fn starts(span: Span, zone: Tz, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    match span {
        Span::Today => {
            let first = midnight(now, zone);
            (0..25)
                .map(|hour| first + TimeDelta::hours(hour))
                .take_while(|at| *at <= now)
                .collect()
        }
        Span::Days(days) => {
            let today = now.with_timezone(&zone).date_naive();
            (0..u64::from(days))
                .rev()
                .filter_map(|back| today.checked_sub_days(Days::new(back)))
                .map(|day| first_instant(day.and_time(NaiveTime::MIN), zone))
                .collect()
        }
    }
}

/// The last midnight in a zone.
pub fn midnight(now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let today = now.with_timezone(&zone).date_naive();
    first_instant(today.and_time(NaiveTime::MIN), zone)
}

/// Where the clocks jump over midnight, the day begins an hour later.
fn first_instant(local: chrono::NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    zone.from_local_datetime(&local)
        .earliest()
        .or_else(|| {
            zone.from_local_datetime(&(local + TimeDelta::hours(1)))
                .earliest()
        })
        .map_or_else(|| local.and_utc(), |at| at.to_utc())
}

impl Health {
    /// Worst first: what stops reminders comes before what delays them.
    fn of(scans: &[Scan], circuits: &[Circuit], now: DateTime<Utc>) -> Self {
        let health = |level, sentence: &str| Self {
            level,
            sentence: sentence.to_owned(),
        };
        if let Some(circuit) = circuits.first() {
            let trouble = Trouble::of(&circuit.provider, &circuit.code);
            return health(
                Level::Bad,
                &format!("Reminders are held up. {}", trouble.what),
            );
        }
        if scans.iter().any(|s| s.error.is_some()) {
            return health(
                Level::Bad,
                "LivePerson cannot be read, so no reminder can be sent.",
            );
        }
        let Some(oldest) = oldest_scan(scans) else {
            return health(Level::Waiting, "Waiting for the first look at LivePerson.");
        };
        if now - oldest > STALE_SCAN {
            return health(
                Level::Bad,
                "Nobody has looked at LivePerson for more than ten minutes.",
            );
        }
        if scans.iter().any(|s| s.succeeded_at.is_none()) {
            return health(Level::Waiting, "The first look at LivePerson is under way.");
        }
        health(Level::Good, "All is well: reminders go out on time.")
    }
}

fn oldest_scan(scans: &[Scan]) -> Option<DateTime<Utc>> {
    scans
        .iter()
        .map(|s| s.succeeded_at.unwrap_or(s.started_at))
        .min()
}

struct Troubles<'a> {
    scans: &'a [Scan],
    circuits: &'a [Circuit],
    failed: i64,
    unknown: i64,
    expired: i64,
    dead: i64,
}

impl Troubles<'_> {
    fn attention(&self, now: DateTime<Utc>) -> Vec<Attention> {
        let mut all = Vec::new();
        let mut add = |level, about, what: String, mend: &str| {
            all.push(Attention {
                level,
                what,
                mend: mend.to_owned(),
                about,
            });
        };
        for circuit in self.circuits {
            let trouble = Trouble::of(&circuit.provider, &circuit.code);
            let what = format!(
                "Sending from {} is paused. {}",
                circuit.sender, trouble.what
            );
            add(Level::Bad, About::Channels, what, trouble.mend);
        }
        if let Some((count, error)) = scan_error(self.scans) {
            let what = format!(
                "LivePerson cannot be read for {}: {error}.",
                counted(count, "skill")
            );
            add(
                Level::Bad,
                About::Scans,
                what,
                "Check the LivePerson credentials and its status page.",
            );
        } else if oldest_scan(self.scans).is_some_and(|oldest| now - oldest > STALE_SCAN) {
            add(
                Level::Bad,
                About::Scans,
                "Conversations have not been looked at for more than ten minutes.".to_owned(),
                "See whether a worker and a scheduler are running.",
            );
        }
        if self.failed > 0 {
            let what = format!(
                "{} could not be delivered today.",
                counted(self.failed, "reminder")
            );
            add(
                Level::Warn,
                About::Reminders("failed"),
                what,
                "See what the providers said about them.",
            );
        }
        if self.unknown > 0 {
            let what = format!(
                "Of {} nobody knows whether they were sent.",
                counted(self.unknown, "reminder")
            );
            add(
                Level::Warn,
                About::Reminders("unknown"),
                what,
                "Send one again if it matters more than a double.",
            );
        }
        if self.expired > 0 {
            let what = format!(
                "{} came too late to be sent today.",
                counted(self.expired, "reminder")
            );
            add(
                Level::Warn,
                About::Reminders("expired"),
                what,
                "See what held them up.",
            );
        }
        let unreadable: i64 = self.scans.iter().map(|s| i64::from(s.unreadable)).sum();
        if unreadable > 0 {
            let what = format!(
                "{} at LivePerson cannot be understood.",
                counted(unreadable, "conversation")
            );
            add(
                Level::Warn,
                About::Scans,
                what,
                "The log names them; tell whoever runs this service.",
            );
        }
        if self.dead > 0 {
            let what = format!(
                "{} failed again and again.",
                counted(self.dead, "background job")
            );
            add(
                Level::Warn,
                About::Scans,
                what,
                "The log says why; tell whoever runs this service.",
            );
        }
        all.sort_by_key(|attention| attention.level);
        all
    }
}

/// How many skills cannot be scanned, and the commonest reason.
fn scan_error(scans: &[Scan]) -> Option<(i64, &str)> {
    let errors = || scans.iter().filter_map(|s| s.error.as_deref());
    let commonest = errors().max_by_key(|error| errors().filter(|e| e == error).count())?;
    Some((
        i64::try_from(errors().count()).unwrap_or(i64::MAX),
        commonest,
    ))
}

fn counted(n: i64, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn scan(succeeded: Option<i64>, error: Option<&str>) -> Scan {
        Scan {
            account: "12345678".to_owned(),
            skill: -1,
            name: None,
            started_at: at(0),
            succeeded_at: succeeded.map(at),
            duration_ms: None,
            conversations: 0,
            unreadable: 0,
            unread: 0,
            undecided: 0,
            error: error.map(str::to_owned),
        }
    }

    fn circuit() -> Circuit {
        Circuit {
            provider: "smtp".to_owned(),
            sender: "a@example.com".to_owned(),
            opened_at: at(0),
            code: "auth 535 5.7.8".to_owned(),
            probe_at: at(1),
        }
    }

    #[test]
    fn the_health_sentence_names_the_worst_first() {
        let fresh = scan(Some(0), None);
        let level = |scans: &[Scan], now| Health::of(scans, &[], at(now)).level;
        assert_eq!(level(&[], 0), Level::Waiting);
        assert_eq!(level(std::slice::from_ref(&fresh), 1), Level::Good);
        assert_eq!(level(&[fresh.clone(), scan(None, None)], 1), Level::Waiting);
        assert_eq!(level(std::slice::from_ref(&fresh), 20), Level::Bad);
        let both = Health::of(&[scan(Some(0), Some("throttled"))], &[circuit()], at(1));
        assert!(
            both.sentence.contains("The mail server"),
            "{}",
            both.sentence
        );
    }

    #[test]
    fn what_needs_a_person_is_told_worst_first() {
        let scans = [scan(Some(0), Some("LivePerson throttles search"))];
        let circuits = [circuit()];
        let troubles = Troubles {
            scans: &scans,
            circuits: &circuits,
            failed: 2,
            unknown: 1,
            expired: 0,
            dead: 0,
        };
        let told: Vec<_> = troubles
            .attention(at(1))
            .into_iter()
            .map(|a| a.about)
            .collect();
        let expected = [
            About::Channels,
            About::Scans,
            About::Reminders("failed"),
            About::Reminders("unknown"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn days_begin_at_midnight_where_the_reader_is() {
        let now = "2026-03-29T12:00:00Z".parse().unwrap();
        let days = starts(Span::Days(2), chrono_tz::Europe::Berlin, now);
        let told: Vec<String> = days.iter().map(|d| d.format("%d %H").to_string()).collect();
        // The clocks change on the 29th, after midnight.
        assert_eq!(told, ["27 23", "28 23"]);
        assert_eq!(
            starts(Span::Today, chrono_tz::Europe::Berlin, now).len(),
            14
        );
        // In Beirut midnight itself is jumped over that day.
        assert_eq!(
            midnight(now, chrono_tz::Asia::Beirut).to_rfc3339(),
            "2026-03-28T22:00:00+00:00"
        );
    }
}
