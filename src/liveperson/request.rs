//! The questions we ask, as LivePerson wants them written.

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::csds::Service;
use super::oauth1::RESERVED;
use super::{LivePersonError, LivePersonSettings};
use crate::domain::ids::SkillId;

/// The widest window of start times that can be asked for without being narrowed. LivePerson takes three months, which is 89
/// days in the shortest case, and both ends are rounded outwards.
pub const MAX_WINDOW: TimeDelta = TimeDelta::seconds(89 * DAY - 2 * ROUNDING);
/// LivePerson's limit for one question by ids.
pub const MAX_IDS: usize = 100;
/// The same for one page.
pub const MAX_PAGE: u32 = 100;
/// LivePerson rounds start times outwards to these marks.
pub const MARK: TimeDelta = TimeDelta::seconds(ROUNDING);
/// Skills in one search. The filter takes a list and no bound is documented; this is what LivePerson takes of other ids at once. An
/// account that refuses so many is asked for fewer.
pub const MAX_SKILLS: usize = 100;

const DAY: i64 = 24 * 60 * 60;
/// Of start times. We do it first, lest LivePerson's rounding exceed its own limit.
const ROUNDING: i64 = 10 * 60;
const WIDEST: i64 = 89 * DAY;

/// Everything that the domain's record is made of. Without this list LivePerson would leave out the dialogs.
const CONTENT: [&str; 6] = [
    "messageRecords",
    "messageStatuses",
    "agentParticipants",
    "consumerParticipants",
    "dialogs",
    "sdes",
];

/// Which conversations to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The skills one of which has the conversation now, [`MAX_SKILLS`] at most; empty: every skill.
    pub skills: Vec<SkillId>,
    pub status: ConversationStatus,
    /// When the conversation started. A window wider than [`MAX_WINDOW`] loses its oldest part, so cover more time by several.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Only those with an update since then. LivePerson rounds it down to a mark of ten minutes, and shows an update a minute late.
    pub updated_since: Option<DateTime<Utc>>,
    /// The order of start times.
    pub newest_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversationStatus {
    Open,
    Closed,
    Any,
}

impl ConversationStatus {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Open => &["OPEN"],
            Self::Closed => &["CLOSE"],
            Self::Any => &["OPEN", "CLOSE"],
        }
    }
}

impl Search {
    /// The window in seconds, rounded outwards and not wider than LivePerson takes.
    fn window(&self) -> (i64, i64) {
        let (from, to) = (self.from.timestamp(), self.to.timestamp());
        let fraction = i64::from(self.to.timestamp_subsec_nanos() > 0);
        let to = to + fraction + (-(to + fraction)).rem_euclid(ROUNDING);
        let from = from - from.rem_euclid(ROUNDING);
        (from.max(to - WIDEST), to)
    }

    fn body(&self, settings: &LivePersonSettings) -> Value {
        let (from, to) = self.window();
        let mut body = json!({
            "start": { "from": from * 1000, "to": to * 1000 },
            "status": self.status.words(),
            "contentToRetrieve": content(settings),
        });
        if let Some(since) = self.updated_since {
            body["latestUpdateTime"] = json!({ "from": since.timestamp_millis() });
        }
        if !settings.channels.is_empty() {
            body["source"] = json!(settings.channels);
        }
        if !self.skills.is_empty() {
            // The documentation's text says numbers, its examples are strings.
            let skills = self.skills.iter().map(SkillId::to_string);
            body["latestSkillIds"] = skills.collect();
        }
        body
    }
}

fn content(settings: &LivePersonSettings) -> Vec<&'static str> {
    let extra = settings.unauthenticated.then_some("unAuthSdes");
    CONTENT.into_iter().chain(extra).collect()
}

/// One call, ready to be sent (and, with OAuth 1.0a, signed) except for the host.
pub struct Call {
    pub endpoint: &'static str,
    pub service: Service,
    pub method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    pub body: Option<String>,
    /// The revision of the skills that we have.
    pub if_match: Option<String>,
}

impl Call {
    pub fn search(settings: &LivePersonSettings, search: &Search, offset: u32, limit: u32) -> Self {
        let sort = if search.newest_first {
            "start:desc"
        } else {
            "start:asc"
        };
        let paging = [
            ("offset", offset.to_string()),
            ("limit", limit.to_string()),
            ("sort", sort.to_owned()),
        ];
        Self::history(
            settings,
            "search",
            "conversations/search",
            paging.to_vec(),
            &search.body(settings),
        )
    }

    /// At most [`MAX_IDS`] ids.
    pub fn by_ids(settings: &LivePersonSettings, ids: &[String]) -> Self {
        let body = json!({ "conversationIds": ids, "contentToRetrieve": content(settings) });
        let path = "conversations/conversation/search";
        Self::history(settings, "by_ids", path, Vec::new(), &body)
    }

    pub fn by_consumer(settings: &LivePersonSettings, consumer: &str) -> Self {
        let body = json!({
            "consumer": consumer,
            "status": ConversationStatus::Open.words(),
            "contentToRetrieve": content(settings),
        });
        let paging = vec![
            ("offset", "0".to_owned()),
            ("limit", settings.page_size.to_string()),
        ];
        let path = "conversations/consumer/search";
        Self::history(settings, "by_consumer", path, paging, &body)
    }

    fn history(
        settings: &LivePersonSettings,
        endpoint: &'static str,
        path: &str,
        mut query: Vec<(&'static str, String)>,
        body: &Value,
    ) -> Self {
        // Version 2 keeps numbers as numbers and is the only one with unauthenticated attributes.
        query.push(("v", "2".to_owned()));
        query.push(("source", settings.source.clone()));
        Self {
            endpoint,
            service: Service::History,
            method: Method::POST,
            path: format!("/messaging_history/api/account/{}/{path}", settings.account),
            query,
            body: Some(body.to_string()),
            if_match: None,
        }
    }

    /// `If-Match` is used the other way round than elsewhere: the same revision gives 304, and -1 always everything.
    pub fn skills(settings: &LivePersonSettings, revision: Option<&str>) -> Self {
        Self {
            endpoint: "skills",
            service: Service::Skills,
            method: Method::GET,
            path: format!(
                "/api/account/{}/configuration/le-users/skills",
                settings.account
            ),
            query: vec![
                ("v", "4.0".to_owned()),
                ("select", "id,name,deleted".to_owned()),
            ],
            body: None,
            if_match: Some(revision.unwrap_or("-1").to_owned()),
        }
    }

    pub fn url(&self, settings: &LivePersonSettings, host: &str) -> Result<Url, LivePersonError> {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)))
            .collect();
        let url = format!(
            "{}://{host}{}?{}",
            settings.service_scheme.as_str(),
            self.path,
            query.join("&")
        );
        Url::parse(&url).map_err(|_| LivePersonError::Malformed {
            endpoint: super::csds::ENDPOINT,
            why: "the service's address is not a host",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: i64, to: i64) -> (i64, i64) {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        Search {
            skills: Vec::new(),
            status: ConversationStatus::Open,
            from: at(from),
            to: at(to),
            updated_since: None,
            newest_first: false,
        }
        .window()
    }

    #[test]
    fn a_window_is_rounded_outwards_to_ten_minutes() {
        assert_eq!(window(600_000, 1_200_000), (600, 1200));
        assert_eq!(window(600_001, 1_200_001), (600, 1800));
        assert_eq!(window(1_199_999, 1_199_999), (600, 1200));
        assert_eq!(window(-1, -1), (-600, 0));
    }

    #[test]
    fn a_window_is_never_wider_than_89_days() {
        let now = 1_773_144_123_456;
        for days in [88, 89, 90, 400] {
            let (from, to) = window(now - days * DAY * 1000, now);
            assert!(to - from <= WIDEST, "{days} days");
            assert!(to * 1000 >= now);
        }
    }

    #[test]
    fn the_widest_window_is_not_narrowed_wherever_it_lies() {
        let width = MAX_WINDOW.num_milliseconds();
        for shift in 0..1300 {
            let to = 1_773_144_000_000 + shift * 1009;
            let (from, _) = window(to - width, to);
            assert!(from * 1000 <= to - width, "{shift}");
        }
    }
}
