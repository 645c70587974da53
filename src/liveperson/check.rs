//! Small calls that show whether an account is set up: for `doctor`.

use chrono::TimeDelta;
use url::Url;

use super::csds::Service;
use super::request::{ConversationStatus, Search};
use super::{LivePersonAuth, LivePersonClient, LivePersonError};

/// The result of one small call.
#[derive(Debug)]
pub struct AccessCheck {
    pub what: &'static str,
    /// What was found, without personal data.
    pub outcome: Result<String, LivePersonError>,
}

impl LivePersonClient {
    /// Tries everything that the program will need, in the order in which one thing needs another: where the services live,
    /// the token, the permission for each question, the clocks.
    pub async fn check(&self) -> Vec<AccessCheck> {
        let mut checks = vec![
            check(
                "domain lookup: msgHist",
                self.session.host(Service::History).await,
            ),
            check(
                "domain lookup: accountConfigReadOnly",
                self.session.host(Service::Skills).await,
            ),
        ];
        if let LivePersonAuth::OAuth2 {
            client_id,
            client_secret,
        } = &self.settings().auth
        {
            checks.push(check(
                "domain lookup: sentinel",
                self.session.host(Service::Token).await,
            ));
            let issued = self
                .session
                .token(client_id, client_secret)
                .await
                .map(|_| "issued".to_owned());
            checks.push(check("access token", issued));
        }
        checks.extend(self.check_history().await);
        let skills = self.skills(None).await.map(|skills| {
            let count = skills.map_or(0, |skills| skills.skills.len());
            format!("{count} skills")
        });
        checks.push(check("skills", skills));
        if let Some(ahead) = self.session.server_ahead() {
            let seconds = ahead.num_seconds();
            let side = if seconds < 0 { "behind" } else { "ahead of" };
            let found = format!("LivePerson's is {} s {side} ours", seconds.abs());
            checks.push(check("clocks", Ok(found)));
        }
        checks
    }

    /// Where a check has asked; `None`: it is not known where that is.
    pub async fn place_of(&self, what: &str) -> Option<Url> {
        let settings = self.settings();
        let service = match what {
            _ if what.starts_with("domain lookup") => return Some(settings.csds_url.clone()),
            "access token" => Service::Token,
            "skills" => Service::Skills,
            _ => Service::History,
        };
        let host = self.session.host(service).await.ok()?;
        Url::parse(&format!("{}://{host}", settings.service_scheme.as_str())).ok()
    }

    /// LivePerson's clock minus ours, if an answer has shown it.
    pub fn clock_ahead(&self) -> Option<TimeDelta> {
        self.session.server_ahead()
    }

    /// The three questions to the history. The last two ask for what does not exist: only being refused would be a finding.
    async fn check_history(&self) -> [AccessCheck; 3] {
        let now = self.session.clock().now();
        let search = Search {
            skills: Vec::new(),
            status: ConversationStatus::Open,
            from: now - TimeDelta::days(1),
            to: now,
            updated_since: None,
            newest_first: false,
        };
        let found = self.search_once(&search, 0, 1).await;
        let nobody = "00000000-0000-0000-0000-000000000000";
        let by_ids = self.by_ids(&[nobody.to_owned()]).await;
        let by_consumer = self.by_consumer(nobody).await;
        [
            check(
                "conversations: search",
                found.map(|page| format!("{} open since yesterday", page.total)),
            ),
            check("conversations: by id", allowed(by_ids)),
            check("conversations: by consumer", allowed(by_consumer)),
        ]
    }
}

fn check(what: &'static str, outcome: Result<String, LivePersonError>) -> AccessCheck {
    AccessCheck { what, outcome }
}

fn allowed<T>(outcome: Result<T, LivePersonError>) -> Result<String, LivePersonError> {
    match outcome {
        Ok(_) | Err(LivePersonError::Rejected { status: 404, .. }) => Ok("allowed".to_owned()),
        Err(error) => Err(error),
    }
}
