//! What the client must be told: the account, its credentials, and how patient to be.

use std::time::Duration;

use url::Url;

use crate::domain::ids::AccountId;
use crate::secret::Secret;

#[derive(Clone, Debug)]
pub struct LivePersonSettings {
    pub account: AccountId,
    /// Where LivePerson's domain lookup lives.
    pub csds_url: Url,
    /// How the services that the lookup names are spoken to.
    pub service_scheme: Scheme,
    pub auth: LivePersonAuth,
    /// Our name in LivePerson's traffic reports, at most 20 characters; they throttle by it.
    pub source: String,
    /// Channels on which a conversation was opened; `SHARK` is the web. Empty means every channel.
    pub channels: Vec<String>,
    /// Conversations per page, 1 to 100; LivePerson takes no more.
    pub page_size: u32,
    /// Also ask for engagement attributes that nobody has authenticated: anyone can put any address there.
    pub unauthenticated: bool,
    /// Waits before each further try of a search that LivePerson could not answer; every wait varies by a fifth.
    pub retry_delays: Vec<Duration>,
    /// After the token server has failed, nobody asks it again for this long.
    pub token_pause: Duration,
    /// The largest answer that is read, in bytes.
    pub max_body: usize,
}

impl LivePersonSettings {
    /// The settings LivePerson recommends, for the real LivePerson.
    pub fn new(account: AccountId, auth: LivePersonAuth) -> Self {
        Self {
            account,
            csds_url: Url::parse("https://api.liveperson.net").expect("the literal is a URL"),
            service_scheme: Scheme::Https,
            auth,
            source: "unread".to_owned(),
            channels: vec!["SHARK".to_owned()],
            page_size: super::MAX_PAGE,
            unauthenticated: false,
            retry_delays: [5, 10, 15].map(Duration::from_secs).to_vec(),
            token_pause: Duration::from_secs(5),
            max_body: 64 << 20,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Https,
    /// Only for a sandbox: credentials travel in the clear.
    Http,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

#[derive(Clone, Debug)]
pub enum LivePersonAuth {
    /// Client credentials of an application installed in the account.
    OAuth2 {
        client_id: String,
        client_secret: Secret,
    },
    /// An API key. LivePerson has announced its end of life; it stays for accounts that still have one.
    OAuth1 {
        consumer_key: String,
        consumer_secret: Secret,
        token: Secret,
        token_secret: Secret,
    },
}
