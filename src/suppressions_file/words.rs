//! Why an address is on a provider's list, in the providers' own words.

use unicode_normalization::UnicodeNormalization as _;

use super::reason::{ListedReason, Skip};
use crate::domain::contact::Suppression;

/// A name or a word without what spelling changes: `Unsub Time`, `UNSUB_TIME` and `unsub-time` are `unsubtime`, `Téléphone` is
/// `telephone`.
pub fn plain(word: &str) -> String {
    // Of the marks that come apart from their letters, those of kana are spelling.
    let stays = |c: &char| c.is_alphanumeric() || matches!(c, '\u{3099}' | '\u{309a}');
    let letters = word.nfkd().filter(stays);
    letters.flat_map(char::to_lowercase).nfc().collect()
}

/// The providers' words for states and reasons, as [`plain`] leaves them.
const WORDS: &[(ListedReason, &[&str])] = &[
    (
        Ok(Suppression::OptedOut),
        &[
            "unsubscribe",
            "unsubscribed",
            "unsub",
            "optout",
            "optedout",
            "groupunsubscribe",
            "groupunsubscribed",
            "globalunsubscribe",
            "globalunsubscribed",
            "listunsubscribe",
            "linkunsubscribe",
            "unsubscribedviaemail",
            "unsubscribedviama",
            "unsubscribedviaapi",
            "manualsuppression",
            "donotcontact",
            "revoked",
            "stop",
            "abgemeldet",
            "abbestellt",
            "ausgetragen",
            "widerrufen",
            "desabonne",
            "desinscrit",
            "dadodebaja",
            "debaja",
            "desuscrito",
            "descadastrado",
            "disiscritto",
            "cancellato",
            "afgemeld",
            "uitgeschreven",
            "wypisany",
            "avregistrerad",
        ],
    ),
    (
        Ok(Suppression::Complaint),
        &[
            "complaint",
            "complained",
            "spamcomplaint",
            "abusecomplaint",
            "spamreport",
            "spamreported",
            "spam",
            "abuse",
            "markedasspam",
            "contactflaggedasspam",
        ],
    ),
    (
        Ok(Suppression::BadAddress),
        &[
            "bounce",
            "bounced",
            "hardbounce",
            "hardbounced",
            "permanent",
            "permanentbounce",
            "permanentfailure",
            "badaddress",
            "bademailaddress",
            "invalid",
            "invalidaddress",
            "invalidemail",
            "undeliverable",
            "cleaned",
        ],
    ),
    (
        Ok(Suppression::Blocked),
        &[
            "blocked",
            "adminblocked",
            "usersuppressed",
            "manuallydeactivated",
            "blocklisted",
        ],
    ),
    (
        Err(Skip::Temporary),
        &[
            "softbounce",
            "softbounced",
            "transient",
            "temporary",
            "deferred",
            "deferral",
            "dnserror",
            "autoresponder",
            "challengeverification",
        ],
    ),
    (
        Err(Skip::AboutTheSender),
        &[
            "block",
            "blocks",
            "spamnotification",
            "virusnotification",
            "dmarcpolicy",
            "openrelaytest",
            "smtpapierror",
            "inbounderror",
            "templaterenderingfailed",
        ],
    ),
    (
        Err(Skip::NotAnOptOut),
        &[
            "subscribe",
            "subscribed",
            "resubscribed",
            "nonsubscribed",
            "active",
            "optin",
            "optedin",
            "confirmed",
            "delivered",
            "delivery",
            "sent",
            "processed",
            "open",
            "opened",
            "click",
            "clicked",
            "addresschange",
            "aktiv",
            "angemeldet",
            "abonniert",
            "abonne",
            "inscrit",
            "activo",
            "suscrito",
            "ativo",
            "attivo",
            "iscritto",
            "actief",
            "aangemeld",
            "aktywny",
        ],
    ),
];

/// What a provider's word for a reason or a state says; `None`: it is none that is known.
pub fn of_word(word: &str) -> Option<ListedReason> {
    let word = plain(word);
    let found = WORDS
        .iter()
        .find(|(_, words)| words.contains(&word.as_str()));
    found.map(|(verdict, _)| *verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: ListedReason = Ok(Suppression::BadAddress);

    #[test]
    fn words_are_known_in_any_spelling_and_each_has_one_meaning() {
        for (word, verdict) in [
            ("HardBounce", BAD),
            ("HARD_BOUNCE", BAD),
            ("BOUNCE", BAD),
            ("hard bounce", BAD),
            ("SpamComplaint", Ok(Suppression::Complaint)),
            ("contactFlaggedAsSpam", Ok(Suppression::Complaint)),
            ("UNSUBSCRIBE", Ok(Suppression::OptedOut)),
            ("unsubscribedViaEmail", Ok(Suppression::OptedOut)),
            ("USER_SUPPRESSED", Ok(Suppression::Blocked)),
            ("Soft Bounce", Err(Skip::Temporary)),
            ("Subscribed", Err(Skip::NotAnOptOut)),
            ("DMARCPolicy", Err(Skip::AboutTheSender)),
        ] {
            assert_eq!(of_word(word), Some(verdict), "{word}");
        }
        assert_eq!(of_word("asked on the phone"), None);
        let mut all: Vec<_> = WORDS.iter().flat_map(|(_, words)| *words).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a word has two meanings");
        assert!(all.iter().all(|word| plain(word) == **word));
    }
}
