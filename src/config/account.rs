//! Accounts: any number in the file, one of them also in the environment.

use std::collections::BTreeSet;

use toml::{Table, Value};
use url::Url;

use super::badge::{self, BadgeTokens};
use super::channel::{self, Use};
use super::inherit;
use super::keys;
use super::parse;
use super::reader::{Noted, SettingsReader};
use super::{ProcessRole, SettingProblem};
use crate::channel::ChannelSettings;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::zone::Zone;
use crate::liveperson::LivePersonAuth;
use crate::secret::Secret;

/// What we know of a LivePerson account before we have asked LivePerson.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    pub id: AccountId,
    /// The brand's name in reminders.
    pub brand: String,
    /// The page with the conversation.
    pub page_url: Option<Url>,
    /// `None` only for roles that do not call LivePerson.
    pub auth: Option<LivePersonAuth>,
    pub count_bots: bool,
    pub unauthenticated_contacts: bool,
    /// ISO 3166 country of phone numbers without a country code.
    pub default_region: Option<String>,
    /// Whose clock counts where nothing tells the consumer's; `None`: UTC.
    pub time_zone: Option<Zone>,
    /// LivePerson's conversation sources, `SHARK` for web messaging.
    pub sources: Vec<String>,
    /// `None`: all.
    pub skills: Option<Vec<SkillId>>,
    /// Origins whose pages may read the badge, as browsers write them.
    pub badge_origins: Vec<String>,
    pub badge_require_token_for_customer_ids: bool,
    pub badge_tokens: BadgeTokens,
    /// Who knows it may say that something has happened in a conversation.
    pub hint_secret: Option<Secret>,
    /// The channels for which it has settings of its own.
    pub channels: ChannelSettings,
}

/// What there is to do about OAuth 1.0a keys.
pub const LEGACY_KEYS: &str = "LivePerson ended OAuth 1.0a keys (LE_CONSUMER_KEY, LE_TOKEN …) on 31 May 2026. In Conversational Cloud under Manage, Management \
     Console, Application Install, add an application with the grant type client_credentials and the scopes of the Messaging Interactions API, \
     and install it in the account; then set LE_CLIENT_ID and LE_CLIENT_SECRET, and leave the four old settings out.";

pub fn read(
    r: &mut SettingsReader,
    role: ProcessRole,
    uses: Use,
) -> Result<Vec<AccountSettings>, Noted> {
    let tables = r.take_accounts();
    let in_environment = account_in_environment(r, &tables);
    let count = tables.len();
    let mut read: Vec<Result<AccountSettings, Noted>> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        r.enter_account(table, Some(index + 1), in_environment == Some(index));
        read.push(read_one(r, role, uses));
    }
    if in_environment == Some(count) {
        r.enter_account(Table::new(), None, true);
        read.push(read_one(r, role, uses));
    }
    if read.is_empty() && role.needs_account() {
        let fix = "Set it to the id of your LivePerson account, for example 12345678, with LE_CLIENT_ID and LE_CLIENT_SECRET beside it; \
             or begin a file unread.toml with unread.example.toml.";
        // A program that is built without it does not know the command.
        let demo = if cfg!(feature = "demo") {
            " To look around without an account, use `unread demo`."
        } else {
            ""
        };
        return Err(r.problem("LE_ACCOUNT", "is not set", format!("{fix}{demo}")));
    }
    let accounts: Vec<AccountSettings> = read.into_iter().collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    for account in &accounts {
        if !seen.insert(&account.id) {
            let what = format!("is {} twice", account.id);
            return Err(r.problem(
                "id in [[account]]",
                what,
                "Keep one [[account]] for each account.",
            ));
        }
    }
    Ok(accounts)
}

/// Which account the environment describes: the one that `LE_ACCOUNT` names, else the only one in the file. The index after the
/// last table means one that the file does not know.
fn account_in_environment(r: &mut SettingsReader, tables: &[Table]) -> Option<usize> {
    if let Some(id) = r.variable("LE_ACCOUNT") {
        let is_named = |table: &Table| match table.get("id") {
            Some(Value::String(own)) => own.trim() == id.trim(),
            Some(own) => own.to_string() == id.trim(),
            None => false,
        };
        return Some(tables.iter().position(is_named).unwrap_or(tables.len()));
    }
    if let [_] = tables {
        return Some(0);
    }
    let of_account = keys::all().filter(|key| key.is_of_account());
    let of_channels = keys::all()
        .filter(|key| inherit::SECTIONS.contains(&key.section()))
        .map(|key| format!("{}{}", inherit::PREFIX, key.env));
    let mut variables = of_account.map(|key| key.env.to_owned()).chain(of_channels);
    if let Some(env) = variables.find(|env| r.variable(env).is_some()) {
        let what = format!("is not set, but {env} is");
        let fix = "Set it to the id of the account that the LE_… variables describe, for example 12345678.";
        r.problems
            .push(SettingProblem::new("LE_ACCOUNT", what, fix));
    }
    None
}

fn read_one(
    r: &mut SettingsReader,
    role: ProcessRole,
    uses: Use,
) -> Result<AccountSettings, Noted> {
    let id = r.required(
        "LE_ACCOUNT",
        "Set it to the account's id, for example 12345678.",
        parse::account,
    );
    let name = id
        .as_ref()
        .map_or("an account".to_owned(), |id: &AccountId| {
            format!("account {id}")
        });
    let auth = read_auth(r, &name, role);
    let brand = r.setting("UNREAD_BRAND", parse::text);
    let page_url = r.optional("UNREAD_PAGE_URL", parse::page_with_fragment);
    let count_bots = r.setting("UNREAD_COUNT_BOTS", parse::flag);
    let unauthenticated_contacts = r.setting("UNREAD_UNAUTHENTICATED_CONTACTS", parse::flag);
    let default_region = r.optional("UNREAD_DEFAULT_REGION", parse::region);
    let time_zone = r.optional("UNREAD_TIME_ZONE", |raw| {
        Zone::parse(raw).map_err(|_| "a time zone, for example Europe/Berlin or UTC+05:30")
    });
    let sources = r.list(
        "UNREAD_SOURCES",
        parse::token(40, "names of sources, for example SHARK"),
    );
    let skills = r.list("UNREAD_SKILLS", parse::skill);
    let badge_origins = r.list("UNREAD_BADGE_ORIGINS", parse::origin);
    let require_token = r.setting("UNREAD_BADGE_REQUIRE_TOKEN_FOR_CUSTOMER_IDS", parse::flag);
    let badge_tokens = badge::read(r);
    let hint_secret = r.optional("UNREAD_HINT_SECRET", parse::signing_secret);
    let channels = channel::read_own(r, uses);
    let page_url = page_url?;
    let own_origin = page_url
        .iter()
        .map(|url| url.origin().ascii_serialization());
    Ok(AccountSettings {
        id: id?,
        brand: brand?,
        auth: auth?,
        count_bots: count_bots?,
        unauthenticated_contacts: unauthenticated_contacts?,
        default_region: default_region?,
        time_zone: time_zone?,
        sources: sources?.unwrap_or_else(|| vec!["SHARK".to_owned()]),
        skills: skills?,
        badge_origins: badge_origins?.unwrap_or_else(|| own_origin.collect()),
        badge_require_token_for_customer_ids: require_token?,
        badge_tokens: badge_tokens?,
        hint_secret: hint_secret?,
        channels: channels?,
        page_url,
    })
}

fn read_auth(
    r: &mut SettingsReader,
    account: &str,
    role: ProcessRole,
) -> Result<Option<LivePersonAuth>, Noted> {
    const OAUTH2: [&str; 2] = ["LE_CLIENT_ID", "LE_CLIENT_SECRET"];
    const OAUTH1: [&str; 4] = [
        "LE_CONSUMER_KEY",
        "LE_CONSUMER_SECRET",
        "LE_TOKEN",
        "LE_TOKEN_SECRET",
    ];
    if !role.calls_liveperson() {
        return Ok(None);
    }
    let has_oauth2 = OAUTH2.map(|env| r.is_given(env)).contains(&true);
    let has_oauth1 = OAUTH1.map(|env| r.is_given(env)).contains(&true);
    if has_oauth2 {
        if has_oauth1 {
            r.warn(format!(
                "The LivePerson login of {account} is given twice: its OAuth 2.0 client is used, its OAuth 1.0a keys (LE_CONSUMER_KEY, \
                 LE_CONSUMER_SECRET, LE_TOKEN, LE_TOKEN_SECRET) are not. Remove the keys."
            ));
        }
        return read_oauth2(r).map(Some);
    }
    if has_oauth1 {
        r.warn(format!(
            "The LivePerson login of {account} uses OAuth 1.0a keys. {LEGACY_KEYS}"
        ));
        return read_oauth1(r).map(Some);
    }
    if role.needs_credentials() {
        let name = r.name_of("LE_CLIENT_ID");
        let fix = format!(
            "Set the OAuth 2.0 client of {account} and its secret (LE_CLIENT_ID and LE_CLIENT_SECRET, or client_id and client_secret in \
             the file). Conversational Cloud issues them under Manage, Management Console, Application Install."
        );
        return Err(r.problem(&name, "is not set", fix));
    }
    Ok(None)
}

impl super::Config {
    /// By whose clock hours are read where nothing tells the consumer's: the account's, if it has one.
    pub fn time_zone_of(&self, account: Option<&AccountId>) -> Zone {
        let mut accounts = self.accounts.iter();
        let account = accounts.find(|configured| Some(&configured.id) == account);
        account
            .and_then(|account| account.time_zone)
            .unwrap_or(Zone::UTC)
    }
}

fn read_oauth2(r: &mut SettingsReader) -> Result<LivePersonAuth, Noted> {
    const FIX: &str = "An OAuth 2.0 client has an id and a secret; LivePerson shows both when the client is made.";
    let client_id = r.required("LE_CLIENT_ID", FIX, parse::text);
    let client_secret = r.required_secret("LE_CLIENT_SECRET", FIX);
    Ok(LivePersonAuth::OAuth2 {
        client_id: client_id?,
        client_secret: client_secret?,
    })
}

fn read_oauth1(r: &mut SettingsReader) -> Result<LivePersonAuth, Noted> {
    const FIX: &str = "An OAuth 1.0a key has four values: LE_CONSUMER_KEY, LE_CONSUMER_SECRET, LE_TOKEN and LE_TOKEN_SECRET.";
    let consumer_key = r.required("LE_CONSUMER_KEY", FIX, parse::text);
    let consumer_secret = r.required_secret("LE_CONSUMER_SECRET", FIX);
    let token = r.required_secret("LE_TOKEN", FIX);
    let token_secret = r.required_secret("LE_TOKEN_SECRET", FIX);
    Ok(LivePersonAuth::OAuth1 {
        consumer_key: consumer_key?,
        consumer_secret: consumer_secret?,
        token: token?,
        token_secret: token_secret?,
    })
}
