//! What speaks against an unknown mailbox.
//!
//! Servers have the same words for a sender, an account of ours and a host that do not exist as for a recipient. So an unknown mailbox
//! or domain is believed only where the text says nothing else: no word for the sender or for what we log in, send and pay with, no
//! look-up of ours, no "not now", no strange domain. Silencing a good address is the worse mistake. The words here are asked after
//! all others, and only then, so they may be common ones.

use super::reply::{QuotedParty, Reply};
use super::words::{RefusalTopic, names_nobody_there, plain, says_any};

/// What a refusal that seems to speak of an unknown mailbox or domain is about instead. `is_coded`: its code says so, too.
pub(super) fn instead(bad: RefusalTopic, reply: &Reply, is_coded: bool) -> Option<RefusalTopic> {
    let text = without(&reply.text, &reply.recipient);
    let text = text.as_str();
    if says_not_now(text) {
        return Some(RefusalTopic::NotNow);
    }
    let domain = bad == RefusalTopic::UnknownDomain;
    let named = match reply.names {
        QuotedParty::Sender => Some(RefusalTopic::Sender),
        QuotedParty::SenderDomain if domain => Some(RefusalTopic::Sender),
        QuotedParty::Strangers if domain && !is_coded => Some(RefusalTopic::Unclear),
        _ => None,
    };
    if named.is_none() && is_an_aside(text) {
        return (!is_coded).then_some(RefusalTopic::Unclear);
    }
    let ours = named.or_else(|| of_us(text));
    let hinted = || (!is_coded && says_any(text, HINTS)).then_some(RefusalTopic::Unclear);
    match ours {
        None => hinted(),
        // A code that speaks of a recipient, or the recipient's address, beside words about us: nobody knows.
        Some(_) if is_coded || reply.names == QuotedParty::Recipient => Some(RefusalTopic::Unclear),
        Some(ours) => Some(ours),
    }
}

/// The text without the recipient's name: whoever writes to `billing@` hears "unknown user billing", which is nobody's bill.
fn without(text: &str, name: &str) -> String {
    let is_name = |word: &&str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        !name.is_empty() && bare.eq_ignore_ascii_case(name)
    };
    let words: Vec<&str> = text.split_whitespace().filter(|w| !is_name(w)).collect();
    words.join(" ")
}

/// Whom of us the text speaks of.
fn of_us(text: &str) -> Option<RefusalTopic> {
    let row = OURS.iter().find(|(_, words)| says_any(text, words));
    let found = row.map(|(finding, _)| *finding);
    found.or_else(|| says_sender(text).then_some(RefusalTopic::Sender))
}

/// Sentences looked at: each is compared with every pattern.
const MOST_SENTENCES: usize = 8;

/// Whether whole sentences name the unknown mailbox before another one comes to us: "User unknown. Sender, please check."
pub(super) fn is_an_aside(text: &str) -> bool {
    let ends = text.char_indices().filter(|&(at, c)| {
        let behind = text.get(at + c.len_utf8()..).unwrap_or_default();
        matches!(c, '.' | ';' | '!') && behind.starts_with(' ')
    });
    let first = |(at, _): (usize, char)| text.get(..at);
    let mut said = ends.filter_map(first).take(MOST_SENTENCES);
    let said = said.find(|said| names_nobody_there(said));
    said.is_some_and(|said| of_us(said).is_none() && of_us(text).is_some())
}

/// Words for us and what is ours, other than the plain ones for a sender, by what is wrong then.
#[rustfmt::skip]
const OURS: &[(RefusalTopic, &[&str])] = &[
    (RefusalTopic::Account, &[
        "your account", "your accounts", "your mailbox", "your inbox", "your email account", "your e mail account", "your mail account", "your user", "your username", "your login", "your plan", "your subscription", "your smtp", "your api", "your hosting", "your customer account",
        "smtp user", "smtp account", "smtp username", "smtp login", "smtp credentials", "smtp access", "smtp service", "api user", "api account", "api key", "api token", "api access", "sasl", "auth user", "authenticated user", "authenticated account", "authentication user", "login user", "login account", "login name", "relay user", "relay account",
        "submission user", "submission account", "sending user", "sending account", "sending mailbox", "sending suspended", "sending disabled", "sending is", "sending has", "sending blocked", "domain not verified", "domain * not verified", "outgoing account", "hosting account", "access key", "security token", "username", "usernames", "user name", "user names", "login", "logon", "logins", "password", "passwords", "passwort", "kennwort", "credentials",
        "for smtp", "for submission", "for message submission", "for mail submission", "for sending", "for outgoing", "for outbound", "sending privileges", "smtp is", "smtp has", "cannot send", "compromised", "hijacked", "payment", "nonpayment", "not paid", "unpaid", "billing", "invoice", "invoices", "overdue", "past due",
        "ihr konto", "ihr benutzerkonto", "ihr postfach", "ihr account", "ihr mailkonto", "ihr e mail konto", "benutzername", "anmeldename", "anmeldung", "anmeldungen", "anmeldeversuche", "you are not", "zum versand", "zum senden", "fur den versand", "fur den postausgang", "postausgang", "zahlungsverzug", "rechnung", "votre compte", "votre boite", "mot de passe", "identifiant", "identifiants", "pour l envoi",
        "impaye", "impayee", "su cuenta", "tu cuenta", "su buzon", "contrasena", "nombre de usuario", "para enviar", "para el envio", "falta de pago", "impago", "sua conta", "nome de usuario", "senha", "para envio", "falta de pagamento", "il tuo account", "il suo account", "il vostro account", "la tua casella", "la sua casella", "nome utente", "per l invio",
        "mancato pagamento", "uw account", "je account", "uw mailbox", "gebruikersnaam", "wachtwoord", "voor verzending", "wanbetaling", "twoje konto", "panstwa konto", "haslo", "nazwa uzytkownika", "do wysylania", "ditt konto", "din konto", "losenord", "anvandarnamn", "passord", "brukernavn", "adgangskode", "brugernavn", "salasana", "kayttajatunnus",
        "ваш аккаунт", "ваша учетная запись", "ваш ящик", "ваш почтовый ящик", "пароль", "пароля", "логин", "логина", "имя пользователя", "для отправки", "неоплаты", "kullanici adi", "sifre",
        "您的账户", "您的帐户", "您的账号", "您的帐号", "您的邮箱", "您的郵箱", "你的账号", "用户名", "密码", "密碼", "欠费", "发信账号", "发信帐号", "登录", "登入", "ログイン", "パスワード", "送信用", "お客様のアカウント",
    ]),
    (RefusalTopic::Sender, &[
        "callback", "callbacks", "callout", "callouts", "call back", "call out", "calling back", "mail from", "mailfrom", "return path", "returnpath", "reverse path", "return address", "bounce address", "bounces address", "bounce domain", "originating", "originator", "envelope from", "from address", "sending address", "sending email address", "sending e mail address", "address you used", "from domain", "from user", "originated",
    ]),
];

/// Words that may be about us, or about nothing: enough to doubt a text without a code, too little to stop sending.
#[rustfmt::skip]
const HINTS: &[&str] = &[
    "ip address", "ip addresses", "your ip", "client ip", "hostname", "host name of", "your host", "your domain", "your server", "client host", "client name", "connecting host", "connecting server", "connecting ip", "remote host", "remote ip", "reverse", "sending domain", "sending host", "sending server",
    "your address", "your email address", "your e mail address", "your mail address", "your mail server", "your email domain", "authentication", "spam", "spamming", "spammer", "spamversand", "abuse", "identity", "identities", "template", "configuration",
    "stream", "subaccount", "sub account", "token", "tenant", "submission", "submitter", "log in", "trial", "subscription", "license", "licence", "from field", "from line", "reply to", "reply address", "responsible address", "or policy", "spf", "dkim", "dmarc",
];

/// How words for a sender begin. In German, Dutch and the north they are made longer at will.
#[rustfmt::skip]
const SENDERS: &[&str] = &[
    "sender", "absend", "versender", "expediteur", "expeditrice", "expeditor", "emetteur", "envoyeur", "remitent", "emisor", "remetent", "emissor", "mittent", "afzend", "verzender", "nadawc", "avsand", "avsend", "afsend", "lahettaj", "odesilatel", "odosielatel",
    "felado", "kuldo", "posiljat", "posiljal", "posiljao", "gonderen", "gonderici", "pengirim", "saatja", "siuntej", "sutitaj", "отправител", "відправник", "изпращач", "подател", "пошиљ", "αποστολέ", "αποστολε", "השולח", "المرسل",
];

/// Words for a sender in texts without blanks between words.
#[rustfmt::skip]
const SENDERS_UNSPACED: &[&str] = &[
    "发件", "發件", "寄件", "发信人", "發信人", "发送者", "發送者", "发送人", "发送方", "送信者", "送信元", "差出人", "発信者", "返信先", "발신", "보낸", "보내는", "송신",
];

/// What comes before the word for whom a mail goes back to: "unknown user, returned to sender".
const BACK_TO: &[&str] = &["to", "an", "al", "ao", "zum"];

fn says_sender(text: &str) -> bool {
    let plain = plain(text);
    if SENDERS_UNSPACED.iter().any(|word| plain.contains(word)) {
        return true;
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.iter().enumerate().any(|(at, word)| {
        let before = |by: usize| at.checked_sub(by).map_or("", |at| words[at]);
        let returned = BACK_TO.contains(&before(1))
            || matches!(
                (before(2), before(1)),
                ("to", "the") | ("an", "den") | ("a", "l")
            );
        !returned && SENDERS.iter().any(|sender| word.starts_with(sender))
    })
}

/// Whether the server says that it does not know now: one that is asked later may find the mailbox.
fn says_not_now(text: &str) -> bool {
    let plain = plain(text);
    let begins = |words: &[&str]| {
        plain
            .split(' ')
            .any(|w| words.iter().any(|b| w.starts_with(b)))
    };
    let contains = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    // "Please check the address and try again" is advice, and good for a mailbox that will never be there.
    let again = says_any(text, &["try again", "retry"]) && !says_any(text, CHECK_FIRST);
    again || says_any(text, NOT_NOW) || begins(NOT_NOW_BEGINS) || contains(NOT_NOW_UNSPACED)
}

#[rustfmt::skip]
const CHECK_FIRST: &[&str] = &[
    "and try again", "and retry", "then try again", "then retry", "before trying again", "to try again", "check", "correct", "spelling", "typo", "typos", "verify the",
];

#[rustfmt::skip]
const NOT_NOW: &[&str] = &[
    "try again later", "try later", "try it later", "try it again later", "retry later", "again later", "later time", "try again in", "try again after", "try again shortly", "try again soon", "retry in", "retry after", "come back later", "at this time", "at this moment", "at the moment", "right now", "for now", "for the time being",
    "not yet", "lookup failure", "lookup failed", "lookup error", "look up failed", "look up failure", "lookup timeout", "lookup problem", "lookups failed", "query failed", "query failure", "dns failure", "dns error", "dns problem", "dns timeout", "dns server failure", "servfail", "server failure", "timed out", "timeout", "time out", "time limit",
    "in progress", "not responding", "no response", "did not respond", "does not respond", "not reachable", "unreachable", "could not connect", "cannot connect", "unable to connect", "failed to connect", "connection refused", "connection failed", "connection failure", "connection error", "connection timed", "connection lost", "connection reset",
    "database error", "database unavailable", "database is", "database failure", "database problem", "database not", "ldap error", "ldap server", "ldap failure", "ldap unavailable", "directory unavailable", "directory server", "directory service", "backend", "backend error", "internal error", "internal server error", "server error", "system error", "local error",
    "local problem", "server busy", "is busy", "overloaded", "maintenance", "under migration", "being migrated", "being moved", "being created",
    "spater erneut", "spater noch", "spater wieder", "es spater", "zeituberschreitung", "zurzeit", "derzeit", "momentan", "im moment", "plus tard", "ulterieurement", "pour le moment", "actuellement", "mas tarde", "mais tarde", "por el momento", "de momento", "no momento", "piu tardi", "al momento", "in seguito", "later opnieuw", "op dit moment", "momenteel",
    "pozniej", "ponownie", "obecnie", "senare", "for tillfallet", "senere", "for oyeblikket", "myohemmin", "pozdeji", "kesobb", "mai tarziu", "kasnije", "daha sonra", "позже", "позднее", "пізніше", "나중에", "잠시 후",
];

/// How words for "temporary" and "put off" begin.
#[rustfmt::skip]
const NOT_NOW_BEGINS: &[&str] = &[
    "temporar", "temporaire", "temporal", "temporane", "tijdelijk", "tymczasow", "vorubergehend", "tillfallig", "midlertidig", "valiaikai", "docasn", "atmenetil", "privremen", "gecici", "временн", "тимчасов", "greylist", "graylist", "deferred", "grauliste",
];

#[rustfmt::skip]
const NOT_NOW_UNSPACED: &[&str] = &[
    "暂时", "暫時", "稍后", "稍後", "临时", "臨時", "超时", "逾時", "一時的", "後ほど", "しばらく", "タイムアウト", "일시적",
];

#[cfg(test)]
mod tests;
