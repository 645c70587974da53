//! What the words of a refusal say, as data.
//!
//! A basic code says little: Exim, qmail, cPanel and Postfix answer 550 to an unknown mailbox, to relaying, to a used-up allowance and
//! to a sender on a block list alike. So the words decide before a general code does. Patterns are whole words in small letters
//! without accents; `*` stands for up to four words and `{name}` for any word of a set. Groups are tried in order, and what is about us comes before what is about the
//! recipient: "Sender verify failed: no such user" speaks of the sender, and silencing a good address is the worse mistake.
//!
//! What seems to be an unknown mailbox after all that is doubted once more, by commoner words: see the module `doubt`.
//!
//! The file is long because it is one table, whose groups mean something by their order.
//!
//! To teach it another server's wording, add a pattern here and the reply to the table in `tests/fixtures/channels`.

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalTopic {
    /// Our sending allowance is used up.
    Quota,
    /// The server does not pass on mail for us.
    Relay,
    /// We have to log in.
    Login,
    /// The sender's address or account.
    Sender,
    /// Our account at the server: unknown, locked, not paid for.
    Account,
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
    /// The server cannot say now whether there is such a mailbox.
    NotNow,
    /// Says so many things that it says nothing.
    Unclear,
}

impl RefusalTopic {
    /// The word in codes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Relay => "relay",
            Self::Login => "login",
            Self::Sender => "sender",
            Self::Account => "account",
            Self::DomainChecks => "domain checks",
            Self::BlockList => "block list",
            Self::UnknownMailbox => "unknown mailbox",
            Self::UnknownDomain => "unknown domain",
            Self::MailboxFull => "mailbox full",
            Self::MailboxBusy => "mailbox busy",
            Self::Restricted => "restricted",
            Self::Content => "content",
            Self::Policy => "policy",
            Self::NotNow => "not now",
            Self::Unclear => "unclear",
        }
    }
}

/// Words that stand for each other in patterns.
#[rustfmt::skip]
pub(super) const SETS: &[(&str, &[&str])] = &[
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
    ("{refused}", &["denied", "rejected", "refused", "blocked", "prohibited", "forbidden", "restricted", "disabled", "banned", "suspended", "disallowed"]),
    ("{listed}", &["listed", "blocked", "blacklisted", "blocklisted", "banned", "rejected", "refused", "denied", "blackholed", "dynamic"]),
    ("{blocked}", &["listed", "blocked", "blacklisted", "blocklisted", "banned", "blackholed"]),
    ("{host}", &["host", "server", "network", "mta", "remotehost", "isp"]),
    ("{is}", &["is", "has", "does", "could", "can", "cannot", "must", "was"]),
    // Whose account it is, what it is called and what has become of it, in the languages of the servers that say so.
    ("{your}", &["your", "ihr", "ihre", "dein", "votre", "su", "tu", "sua", "seu", "tua", "suo", "tuo", "vostro", "uw", "je", "twoje", "panstwa", "ditt", "din", "ваш", "ваша"]),
    ("{own}", &[
        "account", "mailbox", "user", "username", "login", "plan", "subscription", "konto", "benutzerkonto", "mailkonto", "postfach", "benutzer", "compte", "boite", "utilisateur", "cuenta", "buzon", "usuario", "conta", "utente", "casella",
        "gebruiker", "uzytkownik", "skrzynka", "postkasse", "аккаунт", "ящик", "пользователь",
    ]),
    ("{of}", &["smtp", "api", "sending", "submission", "sasl", "authenticated", "hosting", "outgoing", "outbound"]),
    ("{off}", &[
        "unknown", "invalid", "inactive", "disabled", "suspended", "deactivated", "closed", "expired", "terminated", "deleted", "frozen", "locked", "cancelled", "blocked", "banned", "restricted", "limited", "paused", "revoked", "unpaid",
        "gesperrt", "deaktiviert", "gekundigt", "abgelaufen", "bloque", "suspendu", "desactive", "bloqueada", "bloqueado", "suspendida", "suspendido", "suspensa", "suspenso", "desactivada", "deshabilitada", "desativada", "bloccato", "bloccata",
        "sospeso", "sospesa", "disabilitato", "disabilitata", "scaduto", "geblokkeerd", "opgeschort", "uitgeschakeld", "zablokowane", "zawieszone", "sparrat", "sperret", "sparret", "заблокирован", "заблокирована", "отключен", "приостановлен",
    ]),
    ("{be}", &["is", "was", "has", "ist", "wurde", "est", "a", "esta", "ha", "fue", "foi", "e", "werd", "zostalo", "jest", "ar", "har", "er", "blev", "был", "была"]),
    ("{texts}", &["message", "messages", "email", "emails", "mail", "mails", "recipients"]),
    ("{group}", &["group", "list", "recipient", "mailbox", "address", "user", "alias", "team"]),
];

#[rustfmt::skip]
pub(super) const PATTERNS: &[(RefusalTopic, &[&str])] = &[
    (RefusalTopic::Unclear, &["account or domain may not exist", "mailbox unavailable or access denied", "system storage", "too many invalid", "too many unknown", "too many bad", "may not exist"]),
    // Exim checks recipients, too, in the words it has for senders.
    (RefusalTopic::UnknownMailbox, &["recipient verify failed", "recipient verification failed", "recipient verify failure"]),
    // The rate at which one mailbox is written to, by everybody.
    (RefusalTopic::MailboxBusy, &[
        "recipient has exceeded", "recipient exceeded", "{mailbox} is receiving", "receiving mail too quickly", "receiving mail at a rate",
        "receiving mail too fast", "can be received", "can receive * per", "may receive * per",
    ]),
    (RefusalTopic::Restricted, &[
        // Exchange: delivery restrictions of groups and mailboxes.
        "resolver rst", "delivery restriction", "allowed senders", "list of allowed senders", "senders to accept mail from",
        "not authorized to send to * recipient", "not authorised to send to * recipient", "not allowed to send to * recipient",
        "not permitted to send to * recipient", "not {allowed} to send to * {group}", "not {allowed} to send * to this {group}",
        "not {allowed} to send * to the {group}", "{mailbox} does not accept", "{mailbox} is not accepting", "{listed} by recipients", "recipient s blacklist", "recipient s black list",
        "recipient s block list", "recipient s blocklist", "blacklist of * recipient", "black list of * recipient", "user s blacklist",
        "user s black list", "personal blacklist", "personal black list", "not allowed to this address", "not accept mail from you", "{listed} by recipient",
        "{listed} by the recipient", "{listed} by user", "{listed} by the user", "{listed} by addressee", "recipient has blocked",
        "user has blocked", "blocked senders", "envelope blocked", "internal senders only", "only accepts mail from", "members only",
        "only members", "target address", "sender restrictions",
    ]),
    (RefusalTopic::Content, &[
        "contains * link", "contains * url", "contains * uri", "blacklisted url", "blocked url", "url * listed", "contains * virus",
        "contains malware", "contains * domain", "contains * blocked", "contains * listed", "reputation of * link", "reputation of * url", "message * detected as spam", "mail * detected as spam", "email * detected as spam",
    ]),
    (RefusalTopic::Quota, &[
        "per hour", "per day", "for this hour", "for today", "daily * limit", "daily * quota", "hourly * limit", "hourly * quota",
        "daily limit", "hourly limit", "sending limit", "sending limits", "sending quota", "send quota", "outgoing quota", "message quota exceeded",
        "message limit exceeded", "messages from your account", "mails from your account", "emails from your account", "messaging limit",
        "messaging limits", "limit for message recipients", "external recipient rate limit", "tenant has exceeded", "relay limit", "relay quota",
        "email limit", "send limit", "send limits", "monthly limit", "monthly quota", "monthly * limit", "monthly * quota", "message count quota", "sender quota", "sender s quota", "outgoing message quota", "your account has exceeded", "email quota exceeded",
        "frequency limited", "frequency limit", "credits exceeded", "limite d envoi", "limite de envio", "versandlimit",
        // The allowance in other words: of texts, of credits, of a domain or a sender; and of a day in other languages.
        "mail limit", "emails limit", "message limit", "messages limit", "exceeded maximum number of {texts}", "maximum number of {texts} allowed", "maximum number of {texts} sent", "allowed number of {texts}", "number of allowed {texts}",
        "{texts} sent today", "not enough credit", "not enough credits", "insufficient credit", "insufficient credits", "insufficient balance", "no credits", "no credit left", "out of credits", "credit limit", "credits exhausted",
        "quota exceeded for sender", "quota for sender", "quota of sender", "quota for this sender", "quota of the sender", "quota for the sender", "quota for sending", "sender over quota", "sender is over quota", "domain quota", "domain s quota", "quota exceeded for domain", "quota for domain", "quota of domain", "rate quota", "smtp quota", "messages quota", "emails quota", "mails quota",
        "per 1h", "per 24h", "per 24 hours", "per week", "per month", "24 hour limit", "24h limit", "daily cap", "hourly cap", "daily maximum", "daily allowance", "hourly allowance", "outgoing limit", "outbound limit", "outgoing * limit", "outbound * limit", "plan limit", "plan s limit",
        "tageslimit", "tageskontingent", "stundenlimit", "monatslimit", "kontingent", "sendelimit", "sendekontingent", "pro stunde", "pro tag", "limite journaliere", "limite quotidienne", "quota journalier", "quota d envoi", "par heure", "par jour", "limite diario", "limite diaria", "cuota diaria", "cuota de envio", "cota diaria", "cota de envio",
        "por hora", "por dia", "limite giornaliero", "limite di invio", "quota giornaliera", "all ora", "al giorno", "daglimiet", "verzendlimiet", "per uur", "per dag", "dzienny limit", "limit dzienny", "limit wysylki", "na godzine", "na dobe", "дневной лимит", "суточный лимит", "лимит отправки", "лимит сообщений", "лимит писем", "в час", "в сутки",
        "发送超限", "发信超限", "发送频率", "发信频率", "发信数量", "每日发送", "每日限额", "送信制限", "送信数", "送信上限",
    ]),
    (RefusalTopic::Login, &[
        "authentication required", "authentication is required", "authentication needed", "authorization required", "must authenticate",
        "requires authentication", "require authentication", "requires that you authenticate", "requires smtp authentication",
        "was not authenticated", "is not authenticated", "not authenticated", "smtp authentication", "without authentication",
        "failed to authenticate", "authentication user", "username or password", "username and password", "user name or password", "client certificate", "proper authentication", "please authenticate", "authenticate before", "authenticate first", "need to authenticate",
        "authentication failed", "authentication failure", "authentication unsuccessful", "not logged in", "must login", "must log in",
        "login first", "log in first", "please log in", "please login", "send auth", "auth first", "auth command first", "need auth",
        "invalid credentials", "must issue a starttls", "must issue starttls", "must use tls", "authentifizierung erforderlich",
        "authentification requise", "autenticacion requerida", "autenticazione richiesta",
        // The same without the word "authentication", and in other languages.
        "auth required", "auth is required", "auth needed", "auth is needed", "requires auth", "require auth", "without auth", "auth only", "auth error", "auth failed", "auth failure", "must auth", "use auth", "use smtp auth", "be authenticated", "authenticated users only", "only authenticated", "unauthenticated user", "unauthenticated users",
        "unauthenticated client", "use authentication", "enable authentication", "enable smtp auth", "authentication mandatory", "authentication is mandatory", "authentication must", "no authentication", "must first log", "must first login", "must first authenticate", "login required", "login is required", "login needed", "login before", "log in before",
        "login to send", "log in to send", "requires login", "requires you to log", "sign in first", "must sign in", "must be logged", "not logged on", "logged in first", "before smtp", "check mail first", "check your mail first", "check for new mail", "check your mail before",
        "anmeldung erforderlich", "anmeldung notwendig", "anmeldung notig", "bitte anmelden", "bitte melden sie sich", "authentifizierung notwendig", "authentisierung erforderlich", "authentifizierung ist erforderlich", "nicht angemeldet", "nicht authentifiziert", "nicht authentisiert", "authentification necessaire", "authentification obligatoire", "authentification est requise",
        "non authentifie", "vous authentifier", "autenticacion necesaria", "autenticacion obligatoria", "requiere autenticacion", "no autenticado", "debe autenticarse", "autenticacao necessaria", "autenticacao requerida", "autenticacao obrigatoria", "requer autenticacao", "nao autenticado", "autenticazione necessaria", "autenticazione obbligatoria", "non autenticato",
        "deve autenticarsi", "authenticatie vereist", "authenticatie is vereist", "authenticatie nodig", "niet geauthenticeerd", "aanmelden vereist", "inloggen vereist", "wymagane uwierzytelnienie", "uwierzytelnienie wymagane", "wymagana autoryzacja", "wymagane logowanie", "autentisering kravs", "autentisering kreves", "autentificare necesara",
        "hitelesites szukseges", "vyzadovana autentizace", "vyzadovano overeni", "kimlik dogrulama gerekli", "требуется авторизация", "требуется аутентификация", "необходима авторизация", "необходима аутентификация", "авторизуйтесь", "не авторизован", "потрібна авторизація", "потрібна автентифікація", "인증이 필요합니다", "인증 필요",
        "需要身份验证", "需要身份驗證", "需要认证", "需要認證", "需要验证", "认证失败", "请先登录", "請先登入", "未登录", "認証が必要", "認証してください", "ログインが必要", "ログインしてください",
    ]),
    (RefusalTopic::Relay, &[
        "{relay} {refused}", "{relay} is {refused}", "{relay} access {refused}", "{relay} not {allowed}", "{relay} is not {allowed}", "{relay} access not {allowed}",
        "{relay} * not {allowed}", "{relay} to {refused}", "{relay} to * {refused}", "as a relay", "no such domain at this location", "no such domain here", "not {allowed} to relay", "relay attempt", "unable to relay", "cannot relay", "can not relay",
        "not relay", "not relaying", "no relay", "no relaying", "open relay", "insecure mail relay", "relaying mail", "allowed rcpthosts", "allowed rcpthost", "not a local domain", "non accepted domain", "not gateway", "not a gateway", "we do not accept mail for", "domain not hosted here", "domain is not hosted here",
        "weiterleitung nicht erlaubt", "relais interdit",
        "domain not local", "domain is not local", "non local domain", "not one of our domains", "not our domain", "not hosted here", "not hosted on this", "not hosted by", "not host this domain", "not host that domain", "not handle mail for", "not accept mail for that domain", "not accept mail for this domain", "not accepting mail for that domain",
        "not responsible for that domain", "not in my list of domains", "not a local host", "domain not served", "local users only", "local user only", "local domains only", "not a mail exchanger for", "not an mx for", "relay check", "denies relay", "openrelay", "{relay} request {refused}", "{relay} prohibited",
        "{relay} nicht", "{relay} ist nicht", "{relay} verweigert", "{relay} abgelehnt", "{relay} verboten", "kein {relay}", "weiterleitung verweigert", "domain nicht zustandig", "domain nicht gehostet", "nicht zustandig fur", "{relay} interdit", "{relay} non", "{relay} refuse", "relais refuse", "relais non", "relayage refuse", "relayage interdit", "relayage non",
        "{relay} denegado", "{relay} no permitido", "reenvio no permitido", "retransmision no permitida", "{relay} negado", "{relay} nao", "dominio no local", "{relay} negato", "{relay} vietato", "inoltro non consentito", "inoltro non autorizzato", "dominio non locale", "{relay} niet", "{relay} geweigerd", "doorsturen niet", "{relay} zabroniony", "{relay} zabronione",
        "{relay} niedozwolone", "przekazywanie zabronione", "{relay} ej", "{relay} inte", "{relay} ikke", "{relay} zakazan", "{relay} запрещен", "релей запрещен", "пересылка запрещена", "пересылка не разрешена", "ретрансляция запрещена", "ретрансляция не разрешена", "пересилання заборонено", "拒绝中继", "中继被拒绝", "不允许中继", "禁止中继", "不允许转发", "中継を許可", "中継は許可",
        "中継拒否", "不正中継",
    ]),
    (RefusalTopic::Sender, &[
        "sender verify", "sender verification", "sender address", "sender email", "sender domain", "sender s domain", "sender s address", "sender has", "sender must", "sender not", "sender * not {allowed}",
        "sender {refused}", "sender * {refused}", "sender {gone}", "sender * {gone}", "{gone} sender", "bad sender", "fake sender", "forged sender", "spoofed sender", "denies the sender", "null sender", "empty sender", "unroutable sender", "unrouteable sender", "sender is spammer", "domain of sender",
        "envelope sender", "envelope from", "bogus mail from", "mail from not", "mail from is", "mail from must", "from domain", "from is", "not allowed to send mail from", "allowed to send mail from", "registered gateway user", "badmailfrom", "return path", "callback setup failed", "sender callback",
        "sender callout", "bad outbound sender", "outgoing mail", "send as this sender", "not allowed to send from", "not allowed to send as",
        "sender account", "your account * {gone}", "your account * {refused}", "mail from domain", "mail from address", "from address", "not owned by user",
        "address * not verified", "addresses * not verified", "not a verified", "is not verified", "unverified sender",
        // What we send through: an account, its rights and its set-up, at a service or a hoster.
        "sender s {mailbox}", "sender mailbox", "not a {there} sender", "return address", "reply to address", "originator", "mail from user", "not {allowed} to send", "not {allowed} to perform", "from sending", "sending from", "sending paused",
        "sending disabled", "sending {is} * {refused}", "sending activity", "outbound mail", "outbound email", "outbound spam", "outbound message",
        "outgoing email", "outgoing spam", "outgoing message", "email outgoing", "configuration set", "for test purposes", "your smtp account",
        "your account is not", "unconfigured sending domain", "from email domain",
        "absender ungultig", "ungultiger absender", "expediteur invalide", "remitente invalido", "remitente no valido", "mittente non valido", "remetente invalido", "afzender ongeldig", "ongeldige afzender", "absender gesperrt", "absender nicht", "absender * nicht", "absender * abgelehnt", "absenderadresse abgelehnt", "absender unbekannt", "expediteur inconnu", "expediteur refuse", "remitente rechazado", "remitente desconocido", "mittente rifiutato", "remetente rejeitado",
    ]),
    (RefusalTopic::Account, &[
        "{your} {own} {off}", "{your} {own} {be} * {off}", "{your} e mail {own} {be} * {off}", "{your} email {own} {be} * {off}", "{your} {of} {own} {be} * {off}", "{of} {own} {off}", "{of} {own} {be} * {off}", "{off} {of} {own}",
        "{off} api key", "api key {off}", "api key {be} * {off}", "benutzername unbekannt", "unbekannter benutzername", "benutzername ungultig", "ungultiger benutzername", "identifiant inconnu", "identifiant invalide",
    ]),
    (RefusalTopic::DomainChecks, &[
        "spf", "dkim", "dmarc", "spf result", "openspf", "open spf", "unauthenticated", "authentication level", "authentication requirements", "authentication checks",
        "authentication results", "reverse dns", "reverse hostname", "reverse host name", "reverse lookup", "rdns", "ptr", "name lookup failed", "unresolvable", "authentication information", "cannot find your hostname", "find your hostname",
        "your domain {is}", "your host {is}", "your hostname {is}", "your host name {is}", "your server s hostname", "your server s host name",
        "hostname does not match", "host name does not match",
        "helo", "ehlo", "fully qualified hostname", "fcrdns", "arc validation",
        // An IP is nobody's mailbox, though it is an address.
        "ip address not {there}", "ip address * not {there}", "ip not {there}", "ip {gone}", "ip is {gone}", "ip address {gone}", "ip address is {gone}", "{gone} ip", "not an {there} ip", "client hostname", "invalid dns", "bad dns", "hostname lookup", "host name lookup",
    ]),
    (RefusalTopic::BlockList, &[
        "spamhaus", "spamcop", "sorbs", "surbl", "uribl", "barracudacentral", "barracuda reputation", "uceprotect", "senderscore", "invaluement", "proofpoint com",
        "rbl", "rbls", "dnsbl", "dnsbls", "dnsrbl", "block list", "blocklist", "block listed", "blocklisted", "blocked list", "black list", "blacklist", "black listed", "blacklisted", "blackholed",
        "blocked using", "reputation", "banned sending ip", "banned ip", "banned sender", "account has been banned", "your ip", "ip you re using", "ip * {listed}", "ips * {listed}", "{host} * {blocked}", "dynamic ip", "dynamic ips", "dynamic address", "dynamic addresses", "open proxy", "spammer list",
        "cannot resolve your", "no access from", "smtp server of your", "not accepted from this ip", "mail from your ip", "messages from * not sent", "messages from * were not", "looks suspiciously",
        "ip block", "ip blocked", "ip address blocked", "ip address has been blocked", "not allowed to connect", "client host", "client ip", "delist", "delisting", "removal from this list",
        "access to this mail system", "access to submit messages", "mail system has been rejected", "ask your postmaster",
    ]),
    // An address in a header of the message is not the one that was refused.
    (RefusalTopic::Unclear, &["from header", "to header", "header from", "header to", "in header", "in * header", "header field", "headers"]),
    (RefusalTopic::UnknownDomain, &[
        "domain * does not exist", "domain not found", "domain name not found", "domain must exist", "domain mentioned in * is unknown", "no such domain", "unknown domain", "domain unknown", "domain * is unknown",
        "domain is invalid", "invalid domain", "bad domain", "host unknown", "unknown host", "host not found", "host * not found", "unrouteable mail domain", "unroutable mail domain",
        "unrouteable domain", "unroutable domain", "null mx", "nullmx", "domain * does not accept mail", "domain does not accept", "domain does not receive", "nonexistent hosts", "non existent hosts",
        "valid mx", "no mx", "no valid mx", "no mail exchanger", "domain has no", "domain has expired", "infodomainnonexistent", "bad destination system", "bad destination host",
    ]),
    (RefusalTopic::MailboxBusy, &["{mailbox} temporarily", "{mailbox} * temporarily"]),
    (RefusalTopic::MailboxFull, &[
        "mailbox * is full", "mailbox for * is full", "mailbox has exceeded", "mailbox * exceeded", "maildir over", "mailbox size limit", "mailbox limit", "mailbox quota", "mail quota",
        "inbox is full", "inbox full", "mailfolder is full", "mail box full", "box full", "account is full", "user is full", "overquota", "over quota", "quota", "{mailbox} has reached", "{mailbox} has too many messages", "cota excedida", "cuota excedida", "cuota * excedida", "full {mailbox}", "{mailbox} full", "{mailbox} is full", "{mailbox} * exceed", "exceed maximum * storage", "maximum allowed storage", "space has been used", "too many messages on the server", "out of storage", "storage exceeded", "exceeded storage", "storage limit", "insufficient * storage", "not enough * space", "enough * space", "no space left",
        "postfach voll", "postfach ist voll", "postfach * voll", "boite * pleine", "buzon lleno", "buzon * lleno", "casella piena", "casella * piena", "caixa * cheia", "mailbox vol", "skrzynka * pelna", "ящик переполнен", "邮箱已满", "郵箱已滿", "信箱已滿",
    ]),
    (RefusalTopic::UnknownMailbox, UNKNOWN_MAILBOX),
    (RefusalTopic::Content, &[
        "spam", "unsolicited", "content", "virus", "malware", "phishing", "security policies", "attachment", "profile the internet community",
    ]),
    (RefusalTopic::Policy, &["policy", "policies", "prohibition", "prohibited"]),
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
    "inactivity", "is {gone} {mailbox}", "{gone} rcpt", "not find * {mailbox}", "{mailbox} * not here", "{mailbox} * not deliverable", "not have an account",
    // German
    "benutzer unbekannt", "benutzer * unbekannt", "empfanger unbekannt", "empfanger * unbekannt", "empfangeradresse unbekannt", "unbekannter benutzer", "unbekannter empfanger", "adresse unbekannt",
    "postfach unbekannt", "unbekanntes postfach", "existiert nicht", "nicht vorhanden", "nicht gefunden", "uns nicht bekannt", "benutzer * gesperrt", "postfach * gesperrt", "konto * gesperrt", "kein postfach", "postfach deaktiviert", "ungultiger empfanger",
    // French
    "utilisateur inconnu", "utilisateur * inconnu", "destinataire inconnu", "destinataire * inconnu", "adresse inconnue", "adresse * inconnue", "boite * inconnue", "boite * inexistante", "n existe pas", "existe pas",
    "destinataire invalide", "destinataires invalides", "destinataire archivee", "destinataire * invalide", "adresse invalide", "adresse * invalide", "compte desactive", "inexistant", "inexistante",
    // Spanish
    "usuario desconocido", "usuario * desconocido", "destinatario desconocido", "direccion desconocida", "buzon desconocido", "no existe", "no encontrado", "no encontrada", "cuenta desactivada", "buzon * deshabilitado", "usuario * deshabilitado", "cuenta * deshabilitada", "buzon inexistente",
    // Portuguese
    "usuario desconhecido", "utilizador desconhecido", "destinatario desconhecido", "endereco desconhecido", "nao existe", "nao encontrado", "nao encontrada", "conta desativada",
    // Italian
    "utente sconosciuto", "nessun utente", "utente * sconosciuto", "destinatario sconosciuto", "indirizzo sconosciuto", "casella sconosciuta", "non esiste", "inesistente", "utente disabilitato", "casella disabilitata",
    // Dutch
    "onbekende gebruiker", "gebruiker onbekend", "gebruiker * onbekend", "onbekende ontvanger", "ontvanger onbekend", "onbekend adres", "bestaat niet", "niet gevonden",
    // Polish
    "nieznany uzytkownik", "uzytkownik nieznany", "nieznany odbiorca", "nieznany adres", "nie istnieje", "nie znaleziono", "nie ma takiego", "brak takiego",
    // The north
    "okand anvandare", "anvandaren finns inte", "finns inte", "existerar inte", "okand mottagare", "ukendt bruger", "findes ikke", "ukjent bruker", "finnes ikke", "tuntematon",
    // Czech, Hungarian, Romanian, Croatian, Turkish
    "neznamy uzivatel", "uzivatel neexistuje", "neexistuje", "ismeretlen", "nem letezik", "nu exista", "utilizator necunoscut", "ne postoji", "nepoznat korisnik", "kullanici bulunamadi", "boyle bir kullanici yok",
    // Russian, Ukrainian
    "неизвестный пользователь", "пользователь не найден", "пользователь не существует", "не существует", "почтовый ящик не найден", "не найден", "не існує",
    // Korean
    "존재하지 않는", "존재하지 않습니다",
    // Chinese, Japanese: no blanks between words
    "不存在", "用户未知", "無效的收件人", "無此使用者", "存在しません", "ユーザー不明", "宛先不明",
];

/// Whether the text names an unknown or disabled mailbox, whatever else it says.
pub(super) fn names_unknown_mailbox(text: &str) -> bool {
    says_any(text, UNKNOWN_MAILBOX)
}

/// Whether the text names a mailbox or a domain that does not exist.
pub(super) fn names_nobody_there(text: &str) -> bool {
    matches!(
        finding(text),
        Some(RefusalTopic::UnknownMailbox | RefusalTopic::UnknownDomain)
    )
}

/// What the text says, by the first group with a pattern in it. A link's words count where the others say nothing in particular: a server
/// may send its readers to a page about block lists below everything that it refuses.
pub(super) fn finding(text: &str) -> Option<RefusalTopic> {
    let is_link = |word: &&str| word.contains("://");
    if !text.split_whitespace().any(|word| is_link(&word)) {
        return found_in(text);
    }
    let words: Vec<&str> = text.split_whitespace().filter(|w| !is_link(w)).collect();
    match found_in(&words.join(" ")) {
        None | Some(RefusalTopic::Policy) => found_in(text),
        said => said,
    }
}

fn found_in(text: &str) -> Option<RefusalTopic> {
    let plain = plain(text);
    let words = first_words(&plain);
    PATTERNS
        .iter()
        .find(|(_, patterns)| says_one(&plain, &words, patterns))
        .map(|(finding, _)| *finding)
}

/// Whether the text, plain and in words, says one of these. Chinese and Japanese have no blanks between words.
fn says_one(plain: &str, words: &[&str], patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| {
        let unspaced = pattern.starts_with(|c| matches!(c, '\u{2e80}'..='\u{9fff}'));
        if unspaced {
            plain.contains(*pattern)
        } else {
            says(words, pattern)
        }
    })
}

/// Whether the text says one of these patterns.
pub(super) fn says_any(text: &str, patterns: &[&str]) -> bool {
    let plain = plain(text);
    says_one(&plain, &first_words(&plain), patterns)
}

/// Words looked at: the longest replies of real servers have a hundred, and each is compared with every pattern.
const MOST_WORDS: usize = 200;

fn first_words(plain: &str) -> Vec<&str> {
    let words = plain.split(' ').filter(|word| !word.is_empty());
    words.take(MOST_WORDS).collect()
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
    if !pattern.starts_with('{') {
        return pattern == word;
    }
    let set = SETS.iter().find(|(name, _)| *name == pattern);
    set.is_some_and(|(_, words)| words.contains(&word))
}

/// The text in small letters without accents, its words parted by blanks, without addresses: "relay@example.com" is nobody's reason.
pub(super) fn plain(text: &str) -> String {
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
        'ł' | 'ľ' | 'ĺ' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' | 'ș' => 's',
        'ť' | 'ţ' | 'ț' => 't',
        'ù'..='ü' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        c => c,
    });
}

#[cfg(test)]
mod tests;
