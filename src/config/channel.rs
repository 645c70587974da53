//! Channels: a mail server, a Twilio account, or both, of the installation and of accounts that have their own. The settings are the
//! adapters' own; here they are read.

use super::keys;
use super::reader::{Noted, SettingsReader};
use super::{ProcessRole, parse, smtp_login};
use crate::channel::ChannelSettings;
use crate::channel::smtp::{self, Credential, Mailbox, SmtpLogin, SmtpTls};
use crate::channel::twilio::{self, TwilioAuth, TwilioSender};
use crate::secret::Secret;

/// What this process has to do with channels. The settings of what it has nothing to do with need not be complete.
#[derive(Clone, Copy)]
pub struct Use {
    sends: bool,
    takes_webhooks: bool,
}

impl Use {
    pub fn of(role: ProcessRole, dashboard: bool) -> Self {
        Self {
            sends: role.sends(dashboard),
            takes_webhooks: role.takes_webhooks(),
        }
    }

    fn is_none(self) -> bool {
        !self.sends && !self.takes_webhooks
    }
}

/// Those of the installation. It needs some, if no account has its own.
pub fn read(
    r: &mut SettingsReader,
    uses: Use,
    role: ProcessRole,
) -> Result<ChannelSettings, Noted> {
    if uses.is_none() {
        return Ok(ChannelSettings::default());
    }
    let smtp = read_mail(r, uses);
    let twilio = read_sms(r, uses);
    let settings = ChannelSettings {
        smtp: smtp?,
        twilio: twilio?,
        #[cfg(feature = "test-channel")]
        probe: read_probe(r)?,
    };
    if role.needs_channel() && settings.channels().is_empty() && !r.has_own_channels {
        return Err(none_configured(r));
    }
    Ok(settings)
}

/// Those that the current account has as its own.
pub fn read_own(r: &mut SettingsReader, uses: Use) -> Result<ChannelSettings, Noted> {
    if uses.is_none() {
        return Ok(ChannelSettings::default());
    }
    let smtp = r.of_account("smtp", |r| read_mail(r, uses));
    let twilio = r.of_account("twilio", |r| read_sms(r, uses));
    Ok(ChannelSettings {
        smtp: smtp?.flatten(),
        twilio: twilio?.flatten(),
        #[cfg(feature = "test-channel")]
        probe: r.of_account("probe", read_probe)?.flatten(),
    })
}

fn read_mail(r: &mut SettingsReader, uses: Use) -> Result<Option<smtp::SmtpSettings>, Noted> {
    if r.is_given("SMTP_USER") || r.is_given("SMTP_HOST") {
        return uses.sends.then(|| read_smtp(r)).transpose();
    }
    let off = "e-mail is off: neither SMTP_USER nor SMTP_HOST is";
    warn_of_leftovers(r, "smtp", off);
    Ok(None)
}

fn read_sms(r: &mut SettingsReader, uses: Use) -> Result<Option<twilio::TwilioSettings>, Noted> {
    if r.is_given("TWILIO_ACCOUNT_SID") {
        return read_twilio(r, uses).map(Some);
    }
    warn_of_leftovers(r, "twilio", "SMS is off: TWILIO_ACCOUNT_SID is not");
    Ok(None)
}

/// Notes that there is nothing to send with.
fn none_configured(r: &mut SettingsReader) -> Noted {
    r.problem(
        "SMTP_USER or TWILIO_ACCOUNT_SID",
        "is not set, so nothing could be sent",
        "For e-mail set SMTP_USER and SMTP_PASS (and SMTP_HOST, unless it is Gmail); for SMS set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.",
    )
}

#[cfg(feature = "test-channel")]
fn read_probe(
    r: &mut SettingsReader,
) -> Result<Option<crate::channel::probe::ProbeSettings>, Noted> {
    if !r.is_given("PROBE_URL") {
        return Ok(None);
    }
    let url = r.required("PROBE_URL", "", parse::api_url);
    let secret = r.required_secret("PROBE_SECRET", "Set it to what the endpoint signs with.");
    let rate_per_second = r.setting("PROBE_RATE_PER_SECOND", parse::rate);
    Ok(Some(crate::channel::probe::ProbeSettings {
        url: url?,
        secret: secret?,
        rate_per_second: rate_per_second?,
    }))
}

fn warn_of_leftovers(r: &mut SettingsReader, section: &str, off: &str) {
    let keys = keys::all().filter(|key| key.section() == section);
    let given: Vec<_> = keys
        .map(|key| key.env)
        .filter(|env| r.is_given(env))
        .collect();
    if let Some(env) = given.first() {
        let name = r.name_of(env);
        r.warn(format!("{name} is set, but {off} set."));
    }
}

/// A name in its ASCII form, or an address without brackets: what is looked up, and what a certificate must name.
fn mail_host(raw: &str) -> Result<String, &'static str> {
    let host = match (raw.parse::<std::net::IpAddr>(), url::Host::parse(raw)) {
        (Ok(address), _) => address.to_string(),
        (Err(_), Ok(url::Host::Domain(name))) => name,
        (Err(_), Ok(url::Host::Ipv4(address))) => address.to_string(),
        (Err(_), Ok(url::Host::Ipv6(address))) => address.to_string(),
        (Err(_), Err(_)) => return Err(A_MAIL_HOST),
    };
    match rustls::pki_types::ServerName::try_from(host.as_str()) {
        Ok(_) => Ok(host),
        Err(_) => Err(A_MAIL_HOST),
    }
}

const A_MAIL_HOST: &str = "a host name, for example smtp.example.com";

fn read_smtp(r: &mut SettingsReader) -> Result<smtp::SmtpSettings, Noted> {
    let host = r.setting("SMTP_HOST", mail_host);
    let port = r.setting("SMTP_PORT", parse::port);
    let login = smtp_login::read(r);
    let from = read_from(r);
    let from_name = r.optional("SMTP_FROM_NAME", parse::text);
    let reply_to = r.optional("SMTP_REPLY_TO", mailbox);
    let dkim_selector = r.optional("SMTP_DKIM_SELECTOR", selector);
    let connections = r.setting("SMTP_CONNECTIONS", parse::number(1..=100));
    let rate_per_second = r.setting("SMTP_RATE_PER_SECOND", parse::rate);
    let tls = r.optional("SMTP_TLS", |raw| match raw.to_ascii_lowercase().as_str() {
        "implicit" => Ok(SmtpTls::Implicit),
        "starttls" => Ok(SmtpTls::StartTls),
        "none" => Ok(SmtpTls::None),
        _ => Err("implicit, starttls or none"),
    });
    let (host, port, login) = (host?, port?, login?);
    let tls = checked_tls(r, tls?, &host, port, login.is_some());
    warn_of_gmail_password(r, &host, login.as_ref());
    let (from, from_name) = (from?, from_name?);
    Ok(smtp::SmtpSettings {
        host,
        port,
        tls: tls?,
        login,
        from: Mailbox::new(from.address(), from_name.as_deref()).unwrap_or(from),
        reply_to: reply_to?,
        // The adapter names itself after the public address.
        hello_name: "localhost".to_owned(),
        extra_root_pem: None,
        timeouts: smtp::Timeouts::default(),
        dkim_selector: dkim_selector?,
        connections: connections?,
        rate_per_second: rate_per_second?,
    })
}

/// One or more DNS labels.
fn selector(raw: &str) -> Result<String, &'static str> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if raw.len() <= 128 && raw.split('.').all(is_label) {
        Ok(raw.to_owned())
    } else {
        Err("the s= of a DKIM-Signature, for example google or s1")
    }
}

fn mailbox(raw: &str) -> Result<Mailbox, &'static str> {
    let address = parse::email(raw)?;
    Mailbox::new(&address, None).map_err(|_| "an e-mail address, for example support@example.com")
}

fn read_from(r: &mut SettingsReader) -> Result<Mailbox, Noted> {
    if let Some(from) = r.optional("SMTP_FROM", mailbox)? {
        return Ok(from);
    }
    let user = r.optional("SMTP_USER", parse::text)?;
    user.and_then(|user| mailbox(&user).ok()).ok_or_else(|| {
        let name = r.name_of("SMTP_FROM");
        let what = "is not set, and SMTP_USER is not an e-mail address that could stand in for it";
        r.problem(
            &name,
            what,
            "Set it to the sender's address, for example support@example.com.",
        )
    })
}

fn checked_tls(
    r: &mut SettingsReader,
    tls: Option<SmtpTls>,
    host: &str,
    port: u16,
    has_login: bool,
) -> Result<SmtpTls, Noted> {
    match tls {
        None if port == 465 => return Ok(SmtpTls::Implicit),
        None => return Ok(SmtpTls::StartTls),
        Some(SmtpTls::None) if has_login && !parse::is_loopback_name(host) => {
            let name = r.name_of("SMTP_TLS");
            let what = "is none, which would send the password in the clear";
            return Err(r.problem(&name, what, "Use implicit or starttls."));
        }
        Some(SmtpTls::StartTls) if port == 465 => r.warn(
            "SMTP_TLS is starttls on port 465, where mail servers expect implicit TLS. Use port 587, or leave SMTP_TLS out.",
        ),
        Some(SmtpTls::Implicit) if port == 587 || port == 25 => r.warn(format!(
            "SMTP_TLS is implicit on port {port}, where mail servers expect STARTTLS. Use port 465, or leave SMTP_TLS out."
        )),
        Some(_) => {}
    }
    Ok(tls.unwrap_or(SmtpTls::StartTls))
}

/// Google refuses account passwords since May 2025; its app passwords are 16 letters, shown in groups of four.
fn warn_of_gmail_password(r: &mut SettingsReader, host: &str, login: Option<&SmtpLogin>) {
    let login = login.filter(|_| host.eq_ignore_ascii_case("smtp.gmail.com"));
    let Some(Credential::Password(password)) = login.map(|login| &login.credential) else {
        return;
    };
    let letters = password.expose().chars().filter(|c| !c.is_whitespace());
    let is_app_password =
        letters.clone().count() == 16 && { letters }.all(|c| c.is_ascii_lowercase());
    if !is_app_password {
        r.warn(
            "SMTP_PASS does not look like a Google app password (16 letters). Gmail refuses ordinary passwords: make an app password at \
             https://myaccount.google.com/apppasswords.",
        );
    }
}

fn read_twilio(r: &mut SettingsReader, uses: Use) -> Result<twilio::TwilioSettings, Noted> {
    let base_url = r.setting("TWILIO_BASE_URL", parse::api_url);
    let account_sid = r.required("TWILIO_ACCOUNT_SID", "", sid("AC"));
    let login = read_twilio_login(r, uses);
    let from = r.optional("TWILIO_FROM", sender);
    let messaging_service_sid = r.optional("TWILIO_MESSAGING_SERVICE_SID", sid("MG"));
    let further_tokens = r.list("TWILIO_WEBHOOK_TOKENS", parse::secret);
    let redact_bodies = r.setting("TWILIO_REDACT_BODIES", parse::flag);
    let rate_per_second = r.setting("TWILIO_RATE_PER_SECOND", parse::rate);
    let (auth, auth_token) = login?;
    let (from, service) = (from?, messaging_service_sid?);
    if from.is_some() && service.is_some() {
        r.warn("TWILIO_FROM is not used, because TWILIO_MESSAGING_SERVICE_SID is set and chooses the sender.");
    }
    let twilio = twilio::TwilioSettings {
        base_url: base_url?,
        account_sid: account_sid?,
        webhook_tokens: auth_token
            .into_iter()
            .chain(further_tokens?.unwrap_or_default())
            .collect(),
        auth,
        sender: service.map(TwilioSender::Service).or(from),
        redact_bodies: redact_bodies?,
        rate_per_second: rate_per_second?,
    };
    warn_of_twilio(r, &twilio);
    Ok(twilio)
}

/// What calls are made with, and the account's token. Who makes no calls needs no API key, and who has one and takes no webhooks no token.
fn read_twilio_login(
    r: &mut SettingsReader,
    uses: Use,
) -> Result<(TwilioAuth, Option<Secret>), Noted> {
    const TOKEN: &str = "Set it to the account's auth token from Twilio's console. Beside an API key it is needed too where Twilio's webhooks come \
                         in, to check them.";
    const KEY: &str = "An API key has a SID (SK…) and a secret; set both or neither.";
    let has_key = r.is_given("TWILIO_API_KEY") || r.is_given("TWILIO_API_SECRET");
    if !has_key || !uses.sends {
        let token = r.required_secret("TWILIO_AUTH_TOKEN", TOKEN)?;
        return Ok((TwilioAuth::Token(token.clone()), Some(token)));
    }
    let token = if uses.takes_webhooks {
        r.required_secret("TWILIO_AUTH_TOKEN", TOKEN).map(Some)
    } else {
        r.secret("TWILIO_AUTH_TOKEN")
    };
    let sid = r.required("TWILIO_API_KEY", KEY, sid("SK"));
    let secret = r.required_secret("TWILIO_API_SECRET", KEY);
    let (sid, secret) = (sid?, secret?);
    Ok((TwilioAuth::ApiKey { sid, secret }, token?))
}

fn warn_of_twilio(r: &mut SettingsReader, twilio: &twilio::TwilioSettings) {
    let length = twilio.account_sid.len();
    if length != 34 {
        r.warn(format!(
            "TWILIO_ACCOUNT_SID has {length} characters; Twilio's have 34."
        ));
    }
    let host = twilio.base_url.host_str().unwrap_or_default();
    if ENDED_HOSTS
        .iter()
        .any(|region| host == format!("api.{region}.twilio.com"))
    {
        r.warn(format!(
            "Twilio ended the host {host} in April 2026. Use the form with a city, for example api.dublin.ie1.twilio.com."
        ));
    }
}

/// Regions whose short host names stopped on 28 April 2026.
const ENDED_HOSTS: [&str; 7] = ["ie1", "au1", "br1", "de1", "jp1", "sg1", "us2"];

/// A Twilio identifier. Its length is only warned about: stand-ins for Twilio do not always keep to it.
fn sid(prefix: &'static str) -> impl Fn(&str) -> Result<String, String> {
    move |raw| {
        let rest = raw.strip_prefix(prefix).unwrap_or_default();
        let fits =
            (1..=62).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        if fits {
            Ok(raw.to_owned())
        } else {
            Err(format!(
                "a SID from Twilio's console; it begins with {prefix}"
            ))
        }
    }
}

/// A number in E.164, a short code, or a sender name of up to 11 letters and digits; what a Messaging Service has is another setting.
fn sender(raw: &str) -> Result<TwilioSender, &'static str> {
    const ONE: &str =
        "a number with country code, for example +15005550006, a short code or a sender name";
    let starts_with_zero = raw.starts_with("+0");
    match raw.parse() {
        Ok(from @ TwilioSender::From(_)) if !starts_with_zero => Ok(from),
        _ => Err(ONE),
    }
}
