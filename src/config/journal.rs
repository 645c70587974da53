//! The journal: what must not be forgotten with the database.

use std::path::PathBuf;

use url::Url;

use super::reader::{Noted, SettingsReader};
use super::{ProcessRole, parse};
use crate::secret::Secret;

/// Where opt-outs, complaints and erasures are noted outside the database.
#[derive(Clone, Debug)]
pub struct Journal {
    /// `None`: `run` chooses one beside its own PostgreSQL, other roles have none.
    pub file: Option<PathBuf>,
    /// Where they are posted to, and the key that signs the posts.
    pub webhook: Option<(Url, Secret)>,
    /// Days after which entries of erasures are removed from the file.
    pub keep_days: u32,
}

/// `keyed`: there is a key of address hashes outside the database. Without it, and without a key to sign with, those who keep the journal
/// do not start; the others have nothing to do with it.
pub(super) fn read(
    r: &mut SettingsReader,
    role: ProcessRole,
    keyed: bool,
) -> Result<Journal, Noted> {
    let file = r.optional("UNREAD_JOURNAL_FILE", str::parse::<PathBuf>);
    let url = r.optional("UNREAD_JOURNAL_URL", parse::webhook_url);
    let secret = r.optional("UNREAD_JOURNAL_SECRET", parse::signing_secret);
    let keep_days = r.setting("UNREAD_JOURNAL_KEEP_DAYS", parse::number(1..=3650));
    let (file, url, secret) = (file?, url?, secret?);
    let keeps = matches!(role, ProcessRole::Run | ProcessRole::Worker);
    let set = [
        ("UNREAD_JOURNAL_FILE", file.is_some()),
        ("UNREAD_JOURNAL_URL", url.is_some()),
    ];
    let keyless = set.into_iter().find(|(_, set)| *set && keeps && !keyed);
    if let Some((name, _)) = keyless {
        let name = r.name_of(name);
        return Err(r.problem(
            &name,
            "is set, but UNREAD_SECRET is not: with a key that is lost with the database, the journal could not be read",
            "Set UNREAD_SECRET (`openssl rand -hex 32`) and keep it elsewhere.",
        ));
    }
    if keeps && url.is_some() && secret.is_none() {
        let name = r.name_of("UNREAD_JOURNAL_URL");
        return Err(r.problem(
            &name,
            "is set, but UNREAD_JOURNAL_SECRET, which signs what is posted there, is not",
            "Set UNREAD_JOURNAL_SECRET (`echo whsec_$(openssl rand -base64 32)`), there and here.",
        ));
    }
    Ok(Journal {
        file,
        webhook: url.zip(secret),
        keep_days: keep_days?,
    })
}
