//! What an account that has settings of its own for a channel takes from the installation's: field by field, but never a password for a
//! server it was not written for, nor one brand's name for another's sender.

/// Sections of the file whose settings an account may have as its own: `[account.smtp]`, `UNREAD_ACCOUNT_SMTP_…`.
pub const SECTIONS: &[&str] = &[
    "smtp",
    "twilio",
    #[cfg(feature = "test-channel")]
    "probe",
];

/// Before the name of such a setting in the environment.
pub const PREFIX: &str = "UNREAD_ACCOUNT_";

/// Where a password goes.
const MAIL_SERVER: [&str; 3] = ["SMTP_HOST", "SMTP_PORT", "SMTP_TLS"];

/// Numbers and switches that say nothing of whom a message comes from, nor open anything.
const HARMLESS: [&str; 5] = [
    "SMTP_CONNECTIONS",
    "SMTP_RATE_PER_SECOND",
    "TWILIO_RATE_PER_SECOND",
    "TWILIO_REDACT_BODIES",
    // Without an account of its own there is none of its own either; with one, it is that account's password which goes there.
    "TWILIO_BASE_URL",
];

const SMS_SENDER: [&str; 2] = ["TWILIO_FROM", "TWILIO_MESSAGING_SERVICE_SID"];

/// What belongs together: an account that has some of it as its own has all of it as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belongs {
    /// To the mail server.
    Server,
    /// To the login there.
    Login,
    /// To the sender's address.
    Address,
    /// To the sender as customers see it. Whatever is not named otherwise, so that a new setting is not inherited by oversight.
    Sender,
    /// To the Twilio account.
    Twilio,
    /// To what SMS come from.
    SmsSender,
    /// To nothing.
    Harmless,
    /// To the test channel.
    Probe,
}

impl Belongs {
    fn of(env: &str) -> Self {
        match env {
            _ if HARMLESS.contains(&env) => Self::Harmless,
            _ if MAIL_SERVER.contains(&env) => Self::Server,
            "SMTP_USER" | "SMTP_PASS" => Self::Login,
            "SMTP_FROM" => Self::Address,
            _ if env.starts_with("SMTP_OAUTH_") => Self::Login,
            _ if SMS_SENDER.contains(&env) => Self::SmsSender,
            _ if env.starts_with("TWILIO_") => Self::Twilio,
            _ if env.starts_with("PROBE_") => Self::Probe,
            _ => Self::Sender,
        }
    }
}

/// Whether an account that has `own` settings takes this one, which is none of them, from the installation.
pub fn inherits(env: &str, own: &[&str]) -> bool {
    let has = |which: Belongs| own.iter().any(|own| Belongs::of(own) == which);
    match Belongs::of(env) {
        Belongs::Harmless => true,
        Belongs::Server => !has(Belongs::Server),
        Belongs::Login | Belongs::Address => !has(Belongs::Server) && !has(Belongs::Login),
        Belongs::Sender => !has(Belongs::Server) && !has(Belongs::Login) && !has(Belongs::Address),
        Belongs::Twilio => !has(Belongs::Twilio),
        Belongs::SmsSender => !has(Belongs::Twilio) && !has(Belongs::SmsSender),
        Belongs::Probe => !has(Belongs::Probe),
    }
}

/// The setting among `own` that does not go without another one, and that other one.
pub fn incomplete<'o>(own: &[&'o str]) -> Option<(&'o str, &'static str)> {
    let without = |needed: &'static str, needs: &dyn Fn(&str) -> bool| {
        let lacking = own.iter().find(|env| needs(env));
        (!own.contains(&needed)).then_some(())?;
        Some((*lacking?, needed))
    };
    without("SMTP_HOST", &|env| Belongs::of(env) == Belongs::Server).or_else(|| {
        without("TWILIO_ACCOUNT_SID", &|env| {
            Belongs::of(env) == Belongs::Twilio || env == "TWILIO_BASE_URL"
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_s_mail_settings_replace_what_belongs_together() {
        #[rustfmt::skip]
        let cases: [(&[&str], &[&str], &[&str]); 9] = [
            // Own settings; what is inherited beside them; what is not.
            (&["SMTP_HOST"], &["SMTP_CONNECTIONS", "SMTP_RATE_PER_SECOND"],
                &["SMTP_PORT", "SMTP_TLS", "SMTP_USER", "SMTP_PASS", "SMTP_OAUTH_TENANT", "SMTP_OAUTH_GOOGLE_KEY", "SMTP_FROM", "SMTP_FROM_NAME", "SMTP_REPLY_TO"]),
            (&["SMTP_USER"], &["SMTP_HOST", "SMTP_PORT", "SMTP_TLS"],
                &["SMTP_PASS", "SMTP_OAUTH_CLIENT_SECRET", "SMTP_OAUTH_TOKEN_URL", "SMTP_FROM", "SMTP_FROM_NAME", "SMTP_REPLY_TO", "SMTP_DKIM_SELECTOR"]),
            (&["SMTP_PASS"], &["SMTP_HOST"], &["SMTP_USER", "SMTP_OAUTH_CLIENT_ID"]),
            (&["SMTP_OAUTH_TENANT"], &["SMTP_HOST"], &["SMTP_USER", "SMTP_PASS", "SMTP_OAUTH_CLIENT_SECRET"]),
            (&["SMTP_FROM"], &["SMTP_HOST", "SMTP_USER", "SMTP_PASS"], &["SMTP_FROM_NAME", "SMTP_REPLY_TO", "SMTP_DKIM_SELECTOR"]),
            (&["SMTP_FROM_NAME"], &["SMTP_HOST", "SMTP_PASS", "SMTP_FROM", "SMTP_REPLY_TO"], &[]),
            (&["SMTP_REPLY_TO"], &["SMTP_PASS", "SMTP_FROM", "SMTP_FROM_NAME"], &[]),
            (&["SMTP_RATE_PER_SECOND"], &["SMTP_HOST", "SMTP_USER", "SMTP_PASS", "SMTP_FROM", "SMTP_FROM_NAME"], &[]),
            // A setting that is added some day.
            (&["SMTP_FROM"], &[], &["SMTP_SOMETHING_NEW"]),
        ];
        check(&cases);
    }

    #[test]
    fn an_account_s_twilio_settings_replace_what_belongs_together() {
        #[rustfmt::skip]
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&["TWILIO_ACCOUNT_SID"], &["TWILIO_BASE_URL", "TWILIO_RATE_PER_SECOND", "TWILIO_REDACT_BODIES"],
                &["TWILIO_AUTH_TOKEN", "TWILIO_API_KEY", "TWILIO_API_SECRET", "TWILIO_WEBHOOK_TOKENS", "TWILIO_FROM", "TWILIO_MESSAGING_SERVICE_SID"]),
            (&["TWILIO_FROM"], &["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_API_KEY"], &["TWILIO_MESSAGING_SERVICE_SID"]),
            (&["TWILIO_MESSAGING_SERVICE_SID"], &["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"], &["TWILIO_FROM"]),
            (&["TWILIO_RATE_PER_SECOND"], &["TWILIO_ACCOUNT_SID", "TWILIO_FROM"], &[]),
        ];
        check(&cases);
    }

    fn check(cases: &[(&[&str], &[&str], &[&str])]) {
        for (own, taken, not_taken) in cases {
            for env in *taken {
                assert!(inherits(env, own), "{env} beside {own:?}");
            }
            for env in *not_taken {
                assert!(!inherits(env, own), "{env} beside {own:?}");
            }
        }
    }

    /// A setting, and the one it lacks.
    type Lacking = Option<(&'static str, &'static str)>;

    #[test]
    fn a_port_needs_its_host_and_a_token_its_account() {
        #[rustfmt::skip]
        let cases: [(&[&str], Lacking); 10] = [
            (&[], None),
            (&["SMTP_HOST", "SMTP_PORT", "SMTP_TLS"], None),
            (&["SMTP_PORT"], Some(("SMTP_PORT", "SMTP_HOST"))),
            (&["SMTP_TLS", "SMTP_USER", "SMTP_PASS"], Some(("SMTP_TLS", "SMTP_HOST"))),
            (&["SMTP_USER", "SMTP_PASS"], None),
            (&["TWILIO_FROM"], None),
            (&["TWILIO_AUTH_TOKEN"], Some(("TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"))),
            (&["TWILIO_API_KEY", "TWILIO_API_SECRET"], Some(("TWILIO_API_KEY", "TWILIO_ACCOUNT_SID"))),
            (&["TWILIO_BASE_URL"], Some(("TWILIO_BASE_URL", "TWILIO_ACCOUNT_SID"))),
            (&["TWILIO_ACCOUNT_SID", "TWILIO_BASE_URL", "TWILIO_AUTH_TOKEN"], None),
        ];
        for (own, lacking) in cases {
            assert_eq!(incomplete(own), lacking, "{own:?}");
        }
    }
}
