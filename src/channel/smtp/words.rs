//! What the words of a refusal say, as data.
//!
//! A basic code says little: Exim, qmail, cPanel and Postfix answer 550 to an unknown mailbox, to relaying, to a used-up allowance and
//! to a sender on a block list alike. So the words decide before a general code does. Patterns are whole words in small letters
//! without accents; `*` stands for up to four words and `{name}` for any word of a set. Groups are tried in order, and what is about us comes before what is about the
//! recipient: "Sender verify failed: no such user" speaks of the sender, and silencing a good address is the worse mistake.
//!
//! To teach it another server's wording, add a pattern here and the reply to the table in `tests/fixtures/channels`.

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Our sending allowance is used up.
    Quota,
    /// The server does not pass on mail for us.
    Relay,
    /// We have to log in.
    Login,
    /// The sender's address or account.
    Sender,
    /// SPF, DKIM, DMARC or reverse DNS of our domain or host.
    DomainChecks,
    /// Our host is blocked, or its reputation is bad.
    BlockList,
    /// The mailbox does not exist or is out of use.
    UnknownMailbox,
    /// The recipient's domain does not exist, or takes no mail.
    UnknownDomain,
    /// The mailbox is full.
    MailboxFull,
    /// The mailbox gets more than it takes at the moment.
    MailboxBusy,
    /// This recipient takes no mail from us, or from strangers.
    Restricted,
    /// The text.
    Content,
    /// Some policy; whose is not said.
    Policy,
    /// Says so many things that it says nothing.
    Unclear,
}

impl Finding {
    /// The word in codes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Relay => "relay",
            Self::Login => "login",
            Self::Sender => "sender",
            Self::DomainChecks => "domain checks",
            Self::BlockList => "block list",
            Self::UnknownMailbox => "unknown mailbox",
            Self::UnknownDomain => "unknown domain",
            Self::MailboxFull => "mailbox full",
            Self::MailboxBusy => "mailbox busy",
            Self::Restricted => "restricted",
            Self::Content => "content",
            Self::Policy => "policy",
            Self::Unclear => "unclear",
        }
    }
}

/// Words that stand for each other in patterns.
#[rustfmt::skip]
const SETS: &[(&str, &[&str])] = &[
    ("{mailbox}", &[
        "user", "users", "userid", "username", "recipient", "recipients", "mailbox", "mailboxes", "maildrop", "account", "accounts", "address", "addresses",
        "addressee", "alias", "person", "customer", "inbox", "subscriber",
    ]),
    ("{gone}", &[
        "unknown", "unknow", "invalid", "nonexistent", "nonexisting", "inexistent", "inactive", "disabled", "suspended", "deactivated", "closed", "expired",
        "terminated", "deleted", "removed", "frozen", "locked", "discontinued", "cancelled", "wrong", "incorrect", "undeliverable",
    ]),
    ("{there}", &["known", "found", "exist", "existing", "active", "present", "valid", "listed", "recognized", "recognised", "registered"]),
    ("{relay}", &["relay", "relaying", "relayed", "relays"]),
    ("{allowed}", &["allowed", "permitted", "authorized", "authorised", "accepted", "approved", "enabled"]),
    ("{refused}", &["denied", "rejected", "refused", "blocked", "prohibited", "forbidden", "restricted", "disabled", "banned", "suspended"]),
    ("{listed}", &["listed", "blocked", "blacklisted", "blocklisted", "banned", "rejected", "refused", "denied", "blackholed", "dynamic"]),
    ("{host}", &["ip", "ips", "host", "server", "network", "mta", "remotehost", "isp"]),
];

#[rustfmt::skip]
const PATTERNS: &[(Finding, &[&str])] = &[
    (Finding::Unclear, &["account or domain may not exist", "mailbox unavailable or access denied", "system storage", "too many invalid", "too many unknown", "too many bad"]),
    // Exim checks recipients, too, in the words it has for senders.
    (Finding::UnknownMailbox, &["recipient verify failed", "recipient verification failed", "recipient verify failure"]),
    (Finding::Restricted, &[
        // Exchange: delivery restrictions of groups and mailboxes.
        "resolver rst", "allowed senders", "list of allowed senders", "senders to accept mail from",
        "not authorized to send to * recipient", "not authorised to send to * recipient", "not allowed to send to * recipient",
        "not permitted to send to * recipient", "not allowed to this address", "not accept mail from you", "{listed} by recipient",
        "{listed} by the recipient", "{listed} by user", "{listed} by the user", "{listed} by addressee", "recipient has blocked",
        "user has blocked", "blocked senders", "envelope blocked", "internal senders only", "only accepts mail from", "members only",
        "only members", "target address", "sender restrictions",
    ]),
    (Finding::Content, &[
        "contains * link", "contains * url", "contains * uri", "blacklisted url", "blocked url", "url * listed", "contains * virus",
        "contains malware",
    ]),
    (Finding::Quota, &[
        "per hour", "per day", "for this hour", "for today", "daily * limit", "daily * quota", "hourly * limit", "hourly * quota",
        "daily limit", "hourly limit", "sending limit", "sending limits", "sending quota", "send quota", "outgoing quota", "message quota exceeded",
        "message limit exceeded", "messages from your account", "mails from your account", "emails from your account", "messaging limit",
        "messaging limits", "limit for message recipients", "external recipient rate limit", "tenant has exceeded", "relay limit", "relay quota",
        "email limit", "limite d envoi", "limite de envio", "versandlimit",
    ]),
    (Finding::Login, &[
        "authentication required", "authentication is required", "authentication needed", "authorization required", "must authenticate",
        "requires authentication", "require authentication", "requires that you authenticate", "requires smtp authentication",
        "was not authenticated", "is not authenticated", "not authenticated", "smtp authentication", "without authentication",
        "proper authentication", "please authenticate", "authenticate before", "authenticate first", "need to authenticate",
        "authentication failed", "authentication failure", "authentication unsuccessful", "not logged in", "must login", "must log in",
        "login first", "log in first", "please log in", "please login", "send auth", "auth first", "auth command first", "need auth",
        "invalid credentials", "must issue a starttls", "must issue starttls", "must use tls", "authentifizierung erforderlich",
        "authentification requise", "autenticacion requerida", "autenticazione richiesta",
    ]),
    (Finding::Relay, &[
        "{relay} {refused}", "{relay} is {refused}", "{relay} access {refused}", "{relay} not {allowed}", "{relay} is not {allowed}", "{relay} access not {allowed}",
        "{relay} * not {allowed}", "not {allowed} to relay", "relay attempt", "unable to relay", "cannot relay", "can not relay",
        "not relay", "not relaying", "no relay", "no relaying", "open relay", "insecure mail relay", "relaying mail", "allowed rcpthosts", "allowed rcpthost", "not a local domain", "non accepted domain", "not gateway", "we do not accept mail for", "domain not hosted here", "domain is not hosted here",
        "weiterleitung nicht erlaubt", "relais interdit",
    ]),
    (Finding::Sender, &[
        "sender verify", "sender verification", "sender address", "sender email", "sender domain", "sender s domain", "sender s address", "sender has", "sender must", "sender not", "sender * not {allowed}",
        "sender {refused}", "sender * {refused}", "sender {gone}", "sender * {gone}", "{gone} sender", "bad sender", "null sender", "empty sender", "unroutable sender", "unrouteable sender", "sender is spammer", "domain of sender",
        "envelope sender", "envelope from", "bogus mail from", "mail from not", "mail from is", "mail from must", "from domain", "from is", "not allowed to send mail from", "allowed to send mail from", "registered gateway user", "badmailfrom", "return path", "callback setup failed", "sender callback",
        "sender callout", "bad outbound sender", "outgoing mail", "send as this sender", "not allowed to send from", "not allowed to send as",
        "sender account", "your account * {gone}", "your account * {refused}", "mail from domain", "mail from address", "from address", "not owned by user",
        "address * not verified", "addresses * not verified", "not a verified", "is not verified", "unverified sender",
        "absender * abgelehnt", "absenderadresse abgelehnt", "absender unbekannt", "expediteur inconnu", "expediteur refuse", "remitente rechazado", "remitente desconocido", "mittente rifiutato", "remetente rejeitado",
    ]),
    (Finding::DomainChecks, &[
        "spf", "dkim", "dmarc", "spf result", "openspf", "open spf", "unauthenticated", "authentication level", "authentication requirements", "authentication checks",
        "authentication results", "reverse dns", "reverse hostname", "reverse host name", "reverse lookup", "rdns", "ptr", "name lookup failed", "unresolvable", "authentication information", "cannot find your hostname", "find your hostname",
        "helo", "ehlo", "fully qualified hostname", "fcrdns", "arc validation",
    ]),
    (Finding::BlockList, &[
        "spamhaus", "spamcop", "sorbs", "surbl", "uribl", "barracudacentral", "barracuda reputation", "uceprotect", "senderscore", "invaluement", "proofpoint com",
        "rbl", "rbls", "dnsbl", "dnsbls", "dnsrbl", "block list", "blocklist", "block listed", "blocklisted", "blocked list", "black list", "blacklist", "black listed", "blacklisted", "blackholed",
        "blocked using", "reputation", "banned sending ip", "banned ip", "banned sender", "account has been banned", "your ip", "{host} * {listed}", "dynamic ip", "dynamic ips", "open proxy", "spammer list",
        "cannot resolve your", "no access from", "smtp server of your", "not accepted from this ip", "mail from your ip", "messages from * not sent", "messages from * were not", "looks suspiciously",
        "ip block", "ip blocked", "ip address blocked", "ip address has been blocked", "not allowed to connect", "client host", "client ip", "delist", "delisting", "removal from this list",
        "access to this mail system", "access to submit messages", "mail system has been rejected", "ask your postmaster",
    ]),
    (Finding::UnknownDomain, &[
        "domain * does not exist", "domain not found", "domain name not found", "domain must exist", "domain mentioned in * is unknown", "no such domain", "unknown domain", "domain unknown", "domain * is unknown",
        "domain is invalid", "invalid domain", "bad domain", "host unknown", "unknown host", "host not found", "host * not found", "unrouteable mail domain", "unroutable mail domain",
        "unrouteable domain", "unroutable domain", "null mx", "nullmx", "domain * does not accept mail", "domain does not accept", "domain does not receive", "nonexistent hosts", "non existent hosts",
        "valid mx", "no mx", "no valid mx", "no mail exchanger", "domain has no", "domain has expired", "infodomainnonexistent", "bad destination system", "bad destination host",
    ]),
    (Finding::MailboxBusy, &["receiving mail too quickly", "receiving mail at a rate", "receiving mail too fast"]),
    (Finding::MailboxFull, &[
        "mailbox * is full", "mailbox for * is full", "mailbox has exceeded", "mailbox * exceeded", "maildir over", "mailbox size limit", "mailbox limit", "mailbox quota", "mail quota",
        "inbox is full", "inbox full", "mailfolder is full", "mail box full", "box full", "account is full", "user is full", "overquota", "over quota", "quota", "full {mailbox}", "{mailbox} full", "{mailbox} is full", "{mailbox} * exceed", "exceed maximum * storage", "maximum allowed storage", "space has been used", "too many messages on the server", "out of storage", "storage exceeded", "exceeded storage", "storage limit", "insufficient * storage", "not enough * space", "enough * space", "no space left",
        "postfach voll", "postfach ist voll", "postfach * voll", "boite * pleine", "buzon lleno", "buzon * lleno", "casella piena", "casella * piena", "caixa * cheia", "mailbox vol", "skrzynka * pelna",
    ]),
    (Finding::UnknownMailbox, UNKNOWN_MAILBOX),
    (Finding::Content, &[
        "spam", "unsolicited", "content", "virus", "malware", "phishing", "security policies", "attachment", "profile the internet community",
    ]),
    (Finding::Policy, &["policy", "policies", "prohibition", "prohibited"]),
];

#[rustfmt::skip]
const UNKNOWN_MAILBOX: &[&str] = &[
    "{mailbox} {gone}", "{mailbox} * {gone}", "{gone} {mailbox}", "{gone} or inactive {mailbox}", "{gone} email {mailbox}", "{gone} e mail {mailbox}", "{gone} virtual {mailbox}", "{gone} local", "{gone} or illegal", "{gone} to",
    "{mailbox} not {there}", "{mailbox} * not {there}", "{mailbox} * not be found", "not a {there} {mailbox}", "not a {there} email", "not an {there} {mailbox}", "not an {there} email", "not local mailbox", "not a local {mailbox}", "not our customer",
    "no such {mailbox}", "no such local", "no such email", "no such name", "no {mailbox}", "no mail box", "no one at this", "not in directory", "in name directory", "listed in * directory", "nosuchuser", "disableduser", "userunknown",
    "does not exist", "do not exist", "did not exist", "not exist", "not existing", "{mailbox} * nonexistent", "non existent", "non existing", "nonexistent", "no longer exists", "no longer exist", "no longer valid", "no longer active", "no longer in use", "no longer accepts",
    "no longer with us", "no longer works here", "no longer employed", "recipnotfound", "recipientnotfound", "{mailbox} does not have", "has no mailbox", "has no account", "missing home directory", "not in my validrcptto", "not known here",
    "bad {mailbox}", "bad destination mailbox", "bad recipient", "illegal alias", "{mailbox} cannot be verified", "{mailbox} could not be verified", "verify recipient",
    "unrouteable address", "unroutable address", "addresses were unknown", "account unavailable", "account is unavailable", "accept user", "currently suspended", "disabled or discontinued", "archived recipient",
    "inactivity", "is {gone} {mailbox}",
    // German
    "benutzer unbekannt", "benutzer * unbekannt", "empfanger unbekannt", "empfanger * unbekannt", "empfangeradresse unbekannt", "unbekannter benutzer", "unbekannter empfanger", "adresse unbekannt",
    "postfach unbekannt", "unbekanntes postfach", "existiert nicht", "nicht vorhanden", "nicht gefunden", "kein postfach", "postfach deaktiviert", "ungultiger empfanger",
    // French
    "utilisateur inconnu", "utilisateur * inconnu", "destinataire inconnu", "destinataire * inconnu", "adresse inconnue", "adresse * inconnue", "boite * inconnue", "boite * inexistante", "n existe pas", "existe pas",
    "destinataire invalide", "destinataires invalides", "destinataire archivee", "destinataire * invalide", "adresse invalide", "adresse * invalide", "compte desactive", "inexistant", "inexistante",
    // Spanish
    "usuario desconocido", "usuario * desconocido", "destinatario desconocido", "direccion desconocida", "buzon desconocido", "no existe", "no encontrado", "no encontrada", "cuenta desactivada", "buzon inexistente",
    // Portuguese
    "usuario desconhecido", "utilizador desconhecido", "destinatario desconhecido", "endereco desconhecido", "nao existe", "nao encontrado", "nao encontrada", "conta desativada",
    // Italian
    "utente sconosciuto", "nessun utente", "utente * sconosciuto", "destinatario sconosciuto", "indirizzo sconosciuto", "casella sconosciuta", "non esiste", "inesistente", "utente disabilitato", "casella disabilitata",
    // Dutch
    "onbekende gebruiker", "gebruiker onbekend", "gebruiker * onbekend", "onbekende ontvanger", "ontvanger onbekend", "onbekend adres", "bestaat niet",
    // Polish
    "nieznany uzytkownik", "uzytkownik nieznany", "nieznany odbiorca", "nieznany adres", "nie istnieje", "nie znaleziono",
    // The north
    "okand anvandare", "anvandaren finns inte", "finns inte", "okand mottagare", "ukendt bruger", "findes ikke", "ukjent bruker", "finnes ikke", "tuntematon",
    // Czech, Hungarian, Turkish
    "neznamy uzivatel", "uzivatel neexistuje", "neexistuje", "ismeretlen", "nem letezik", "kullanici bulunamadi", "boyle bir kullanici yok",
    // Russian, Ukrainian
    "неизвестный пользователь", "пользователь не найден", "пользователь не существует", "не существует", "почтовый ящик не найден", "не найден", "не існує",
    // Chinese, Japanese: no blanks between words
    "不存在", "用户未知", "無效的收件人", "無此使用者", "存在しません", "ユーザー不明", "宛先不明",
];

/// Whether the text names an unknown or disabled mailbox, whatever else it says.
pub(super) fn names_unknown_mailbox(text: &str) -> bool {
    says_any(text, UNKNOWN_MAILBOX)
}

/// What the text says, by the first group with a pattern in it.
pub(super) fn finding(text: &str) -> Option<Finding> {
    let plain = plain(text);
    let words: Vec<&str> = plain.split(' ').filter(|w| !w.is_empty()).collect();
    let says = |pattern: &&str| {
        let unspaced = pattern.starts_with(|c| matches!(c, '\u{2e80}'..='\u{9fff}'));
        if unspaced {
            plain.contains(*pattern)
        } else {
            says(&words, pattern)
        }
    };
    PATTERNS
        .iter()
        .find(|(_, patterns)| patterns.iter().any(&says))
        .map(|(finding, _)| *finding)
}

/// Whether the text says one of these patterns.
pub(super) fn says_any(text: &str, patterns: &[&str]) -> bool {
    let plain = plain(text);
    let words: Vec<&str> = plain.split(' ').filter(|w| !w.is_empty()).collect();
    patterns.iter().any(|pattern| says(&words, pattern))
}

fn says(words: &[&str], pattern: &str) -> bool {
    (0..words.len()).any(|at| begins(&words[at..], pattern))
}

/// Words that `*` stands for at most.
const GAP: usize = 4;

fn begins(words: &[&str], pattern: &str) -> bool {
    let (first, rest) = pattern.split_once(' ').unwrap_or((pattern, ""));
    if first == "*" {
        return (0..=GAP.min(words.len())).any(|gap| begins(&words[gap..], rest));
    }
    words.first().is_some_and(|word| stands_for(first, word))
        && (rest.is_empty() || begins(&words[1..], rest))
}

/// Whether a word of a pattern stands for this one.
fn stands_for(pattern: &str, word: &str) -> bool {
    let set = SETS.iter().find(|(name, _)| *name == pattern);
    set.map_or(pattern == word, |(_, words)| words.contains(&word))
}

/// The text in small letters without accents, its words parted by blanks, without addresses: "relay@example.com" is nobody's reason.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace().filter(|word| !is_address(word)) {
        for c in word.chars().flat_map(char::to_lowercase) {
            match c {
                '\'' | '\u{2019}' => plain.push('\''),
                c if c.is_alphanumeric() => push_plain(&mut plain, c),
                // A combining accent.
                '\u{300}'..='\u{36f}' => {}
                _ => plain.push(' '),
            }
        }
        plain.push(' ');
    }
    // "doesn't" and "does not" are the same; other apostrophes part words ("n'existe").
    plain
        .replace("n't", " not")
        .replace("ca not", "can not")
        .replace('\'', " ")
}

/// Whether a word is a mail address, or a host's.
fn is_address(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.contains('@') || bare.parse::<std::net::IpAddr>().is_ok()
}

fn push_plain(plain: &mut String, c: char) {
    plain.push(match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' => 't',
        'ù'..='ü' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        c => c,
    });
}

#[cfg(test)]
mod tests;
