//! One conversation with a client, from the greeting to its end.

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use tokio::io::{AsyncRead, AsyncWrite};

use super::faults::{Phase, SmtpEffect};
use super::stream::{Line, Lines};
use super::{Server, SmtpOptions};

/// Octets of a command line; RFC 5321 asks for 512, and AUTH needs more.
const COMMAND_LINE: usize = 12_288;
/// Octets of a line of the message, without CRLF (RFC 5321, 4.5.3.1.6).
const TEXT_LINE: usize = 998;
const MAX_RECIPIENTS: usize = 100;

/// What follows a command.
enum Turn {
    Next,
    StartTls,
    /// The connection closes.
    End,
}

/// How a step was answered: the first digit of the reply, or none because the conversation is over.
type Answered = Option<char>;

struct Session<'a, S> {
    server: &'a Server,
    lines: Lines<S>,
    secure: bool,
    greeted: bool,
    signed_in: bool,
    /// The transaction: sender and recipients.
    from: Option<String>,
    to: Vec<String>,
    accepted: u32,
}

/// Greets the client and talks with it; gives the stream back when the client asked for TLS.
pub async fn run<S>(server: &Server, stream: S, secure: bool) -> io::Result<Option<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = Session::new(server, stream, secure);
    if session.greet().await? != Some('2') {
        return Ok(None);
    }
    session.talk().await
}

/// Goes on after STARTTLS: no second greeting, and the client has to say EHLO again.
pub async fn run_upgraded<S>(server: &Server, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Session::new(server, stream, true).talk().await.map(drop)
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(server: &'a Server, stream: S, secure: bool) -> Self {
        Self {
            server,
            lines: Lines::new(stream),
            secure,
            greeted: false,
            signed_in: server.options.credentials.is_none(),
            from: None,
            to: Vec::new(),
            accepted: 0,
        }
    }

    fn options(&self) -> &'a SmtpOptions {
        &self.server.options
    }

    async fn greet(&mut self) -> io::Result<Answered> {
        let open = self.server.open.load(std::sync::atomic::Ordering::SeqCst);
        if open > self.options().max_connections {
            return self
                .say("421 4.3.2 Too many connections, try again later")
                .await;
        }
        let (mut delay, mut effect) = self.draw(Phase::Connect, &[]);
        if effect == SmtpEffect::Proceed {
            tokio::time::sleep(delay).await;
            (delay, effect) = self.draw(Phase::Greeting, &[]);
        }
        let greeting = format!("220 {} ESMTP ready", self.options().hostname);
        self.play(delay, effect, &greeting).await
    }

    /// Takes commands until the client leaves; gives the stream back for TLS.
    async fn talk(mut self) -> io::Result<Option<S>> {
        loop {
            let Some(command) = self.line().await? else {
                return Ok(None);
            };
            match self.obey(&command).await? {
                Turn::Next => {}
                Turn::StartTls => return Ok(Some(self.lines.into_inner())),
                Turn::End => return Ok(None),
            }
        }
    }

    /// A command or answer of the client; `None` ends the conversation.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            let idle = self.options().idle;
            let Ok(line) = tokio::time::timeout(idle, self.lines.next(COMMAND_LINE)).await else {
                self.say("421 4.4.2 Timeout - closing connection").await?;
                return Ok(None);
            };
            match line? {
                Some(Line::Whole(line) | Line::BareLf(line)) => {
                    return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
                }
                Some(Line::TooLong) => self.say("500 5.5.2 Line too long").await?,
                None => return Ok(None),
            };
        }
    }

    async fn obey(&mut self, command: &str) -> io::Result<Turn> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let answered = match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" if rest.trim().is_empty() => {
                self.say("501 5.5.4 Say who you are").await?
            }
            "EHLO" => self.hello(&self.extensions()).await?,
            "HELO" => {
                self.hello(&format!("250 {}", self.options().hostname))
                    .await?
            }
            "STARTTLS" => return self.start_tls().await,
            "AUTH" => self.auth(rest).await?,
            "MAIL" => self.mail(rest).await?,
            "RCPT" => self.rcpt(rest).await?,
            "DATA" => self.data().await?,
            "RSET" => {
                self.reset();
                self.say("250 2.0.0 Reset").await?
            }
            "NOOP" => self.say("250 2.0.0 Ok").await?,
            "VRFY" => self.say("252 2.5.2 Cannot verify, send and see").await?,
            "QUIT" => {
                self.answer(Phase::Quit, &[], "221 2.0.0 Bye").await?;
                None
            }
            _ => self.say("502 5.5.1 Command not recognised").await?,
        };
        Ok(if answered.is_some() {
            Turn::Next
        } else {
            Turn::End
        })
    }

    fn extensions(&self) -> String {
        let options = self.options();
        let mut lines = vec![
            options.hostname.clone(),
            format!("SIZE {}", options.max_message_bytes),
            "8BITMIME".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        if self.may_start_tls() {
            lines.push("STARTTLS".to_owned());
        } else if options.credentials.is_some() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        let last = lines.len() - 1;
        let reply: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(place, line)| format!("250{}{line}", if place == last { ' ' } else { '-' }))
            .collect();
        reply.join("\n")
    }

    fn may_start_tls(&self) -> bool {
        self.server.acceptor.is_some() && !self.secure
    }

    async fn hello(&mut self, reply: &str) -> io::Result<Answered> {
        self.reset();
        let answered = self.answer(Phase::Ehlo, &[], reply).await?;
        self.greeted = answered == Some('2');
        Ok(answered)
    }

    async fn start_tls(&mut self) -> io::Result<Turn> {
        let reply = if self.may_start_tls() {
            "220 2.0.0 Go ahead"
        } else {
            "502 5.5.1 STARTTLS is not offered"
        };
        Ok(match self.answer(Phase::StartTls, &[], reply).await? {
            Some('2') => Turn::StartTls,
            Some(_) => Turn::Next,
            None => Turn::End,
        })
    }

    async fn auth(&mut self, rest: &str) -> io::Result<Answered> {
        let Some(expected) = &self.options().credentials else {
            return self.say("503 5.5.1 AUTH is not offered").await;
        };
        if self.may_start_tls() {
            return self
                .say("538 5.7.11 Encryption required for this mechanism")
                .await;
        }
        let mut words = rest.split_whitespace();
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next();
        let given = match mechanism.as_str() {
            "PLAIN" => {
                let Some(answer) = self.challenge("", initial).await? else {
                    return Ok(None);
                };
                let mut fields = answer.splitn(3, '\0').skip(1);
                fields
                    .next()
                    .zip(fields.next())
                    .map(|(user, password)| (user.to_owned(), password.to_owned()))
            }
            "LOGIN" => {
                let Some(user) = self.challenge("Username:", initial).await? else {
                    return Ok(None);
                };
                let Some(password) = self.challenge("Password:", None).await? else {
                    return Ok(None);
                };
                Some((user, password))
            }
            _ => return self.say("504 5.5.4 Mechanism not supported").await,
        };
        let right = given.as_ref() == Some(expected);
        let user = given.map(|(user, _)| user).unwrap_or_default();
        let reply = if right {
            "235 2.7.0 Welcome"
        } else {
            "535 5.7.8 Username and Password not accepted"
        };
        let answered = self.answer(Phase::Auth, &[&user], reply).await?;
        self.signed_in = answered == Some('2');
        if !self.signed_in {
            self.server
                .denied
                .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(answered)
    }

    /// The client's answer to a base64 challenge, decoded; what is not base64 becomes an empty (and thus wrong) answer.
    async fn challenge(
        &mut self,
        question: &str,
        initial: Option<&str>,
    ) -> io::Result<Option<String>> {
        let answer = match initial {
            Some("=") => String::new(),
            Some(initial) => initial.to_owned(),
            None => {
                self.say(&format!("334 {}", BASE64_STANDARD.encode(question)))
                    .await?;
                let Some(answer) = self.line().await? else {
                    return Ok(None);
                };
                answer
            }
        };
        let octets = BASE64_STANDARD.decode(answer.trim()).unwrap_or_default();
        Ok(Some(String::from_utf8_lossy(&octets).into_owned()))
    }

    async fn mail(&mut self, rest: &str) -> io::Result<Answered> {
        let options = self.options();
        let parsed = path(rest, "FROM:");
        let from = parsed
            .as_ref()
            .map(|(address, _)| address.clone())
            .unwrap_or_default();
        let reply = if !self.greeted {
            "503 5.5.1 Say EHLO first"
        } else if self.may_start_tls() {
            "530 5.7.0 Must issue a STARTTLS command first"
        } else if !self.signed_in {
            "530 5.7.0 Authentication Required"
        } else if self.from.is_some() {
            "503 5.5.1 Sender already given"
        } else if options
            .max_messages_per_connection
            .is_some_and(|most| self.accepted >= most)
        {
            "421 4.7.0 Too many messages in this connection"
        } else {
            match &parsed {
                Some((address, _)) if !(address.is_empty() || plausible(address)) => {
                    "501 5.1.7 Bad sender address syntax"
                }
                Some((_, parameters)) => mail_parameters(parameters, options.max_message_bytes),
                None => "501 5.5.4 Syntax: MAIL FROM:<address>",
            }
        };
        let answered = self.answer(Phase::Mail, &[&from], reply).await?;
        if answered == Some('2') {
            self.from = Some(from);
        }
        Ok(answered)
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<Answered> {
        let parsed = path(rest, "TO:");
        let to = parsed
            .as_ref()
            .map(|(address, _)| address.clone())
            .unwrap_or_default();
        let reply = if self.from.is_none() {
            "503 5.5.1 MAIL first"
        } else if self.to.len() >= MAX_RECIPIENTS {
            "452 4.5.3 Too many recipients"
        } else {
            match &parsed {
                None => "501 5.5.4 Syntax: RCPT TO:<address>",
                Some((address, _)) if !address.is_ascii() => {
                    "553 5.6.7 SMTPUTF8 required but not supported"
                }
                Some((address, _)) if !plausible(address) => {
                    "553 5.1.3 Bad recipient address syntax"
                }
                Some((_, parameters)) if !parameters.is_empty() => {
                    "555 5.5.4 Parameter not recognised"
                }
                Some(_) => "250 2.1.5 Ok",
            }
        };
        let answered = self.answer(Phase::Rcpt, &[&to], reply).await?;
        if answered == Some('2') {
            self.to.push(to);
        }
        Ok(answered)
    }

    async fn data(&mut self) -> io::Result<Answered> {
        let reply = match (&self.from, self.to.is_empty()) {
            (None, _) => "503 5.5.1 MAIL first",
            (Some(_), true) => "554 5.5.1 No valid recipients",
            (Some(_), false) => "354 End data with <CR><LF>.<CR><LF>",
        };
        let recipients = self.to.clone();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let answered = self.answer(Phase::Data, &recipients, reply).await?;
        if answered != Some('3') {
            return Ok(answered);
        }
        let Some(message) = self.message().await? else {
            return Ok(None);
        };
        let (delay, effect) = self.draw(Phase::Final, &recipients);
        let accepts = match &effect {
            SmtpEffect::Proceed | SmtpEffect::Greylist { .. } => message.is_ok(),
            SmtpEffect::Reply { text } => text.starts_with('2'),
            SmtpEffect::Silence { accepted } | SmtpEffect::Close { accepted } => *accepted,
        };
        let reply = match message {
            Ok(raw) if accepts => self.accept(raw),
            Ok(_) => String::new(), // a fault answers
            Err(refusal) => refusal.to_owned(),
        };
        self.reset();
        self.play(delay, effect, &reply).await
    }

    fn accept(&mut self, raw: Vec<u8>) -> String {
        self.accepted += 1;
        let from = self.from.take().unwrap_or_default();
        let to = std::mem::take(&mut self.to);
        let id = self
            .server
            .outbox
            .accept_mail(self.server.clock.now(), from, to, raw);
        format!("250 2.0.0 OK: queued as {id:X}")
    }

    /// The message up to the final dot, dots unstuffed, or why it cannot be taken. `None`: the client left before the dot.
    async fn message(&mut self) -> io::Result<Option<Result<Vec<u8>, &'static str>>> {
        let limit = self.options().max_message_bytes;
        let mut raw = Vec::new();
        let mut refusal = None;
        loop {
            let read = tokio::time::timeout(self.options().idle, self.lines.next(TEXT_LINE + 1));
            let Ok(line) = read.await else {
                self.say("421 4.4.2 Timeout - closing connection").await?;
                return Ok(None);
            };
            let line = match line? {
                None => return Ok(None),
                Some(Line::Whole(line)) if line == b"." => {
                    return Ok(Some(refusal.map_or(Ok(raw), Err)));
                }
                Some(Line::Whole(line)) => line,
                Some(Line::BareLf(line)) => {
                    refusal = Some("550 5.6.11 Bare line feeds are illegal");
                    line
                }
                Some(Line::TooLong) => {
                    refusal = Some("550 5.6.0 Lines longer than 998 octets are illegal");
                    continue;
                }
            };
            let text = line.strip_prefix(b".").unwrap_or(&line);
            if text.len() > TEXT_LINE {
                refusal = Some("550 5.6.0 Lines longer than 998 octets are illegal");
            } else if raw.len() + text.len() + 2 > limit {
                refusal = Some("552 5.3.4 Message size exceeds fixed limit");
            } else {
                raw.extend_from_slice(text);
                raw.extend_from_slice(b"\r\n");
            }
        }
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }

    /// The fault that strikes in this phase, if any. Greylisting is settled here.
    fn draw(&self, phase: Phase, addresses: &[&str]) -> (Duration, SmtpEffect) {
        let Some(fault) = self
            .server
            .faults
            .strike(addresses, |fault| fault.phase == phase)
        else {
            return (Duration::ZERO, SmtpEffect::Proceed);
        };
        let effect = match fault.effect {
            SmtpEffect::Greylist { for_ms } if self.is_greylisted(addresses, for_ms) => {
                SmtpEffect::Reply {
                    text: "450 4.2.0 Greylisted, please try again".to_owned(),
                }
            }
            SmtpEffect::Greylist { .. } => SmtpEffect::Proceed,
            effect => effect,
        };
        (Duration::from_millis(fault.delay_ms), effect)
    }

    fn is_greylisted(&self, addresses: &[&str], for_ms: i64) -> bool {
        let now = self.server.clock.now();
        let pair = (self.from.clone().unwrap_or_default(), addresses.concat());
        let mut seen = self
            .server
            .greylist
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match seen.get(&pair) {
            Some(first) => now - first < TimeDelta::milliseconds(for_ms),
            None => seen.insert(pair, now).is_none(),
        }
    }

    /// Answers a step: as usual, or as a fault wants it.
    async fn answer(
        &mut self,
        phase: Phase,
        addresses: &[&str],
        ordinary: &str,
    ) -> io::Result<Answered> {
        let (delay, effect) = self.draw(phase, addresses);
        self.play(delay, effect, ordinary).await
    }

    async fn play(
        &mut self,
        delay: Duration,
        effect: SmtpEffect,
        ordinary: &str,
    ) -> io::Result<Answered> {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match effect {
            SmtpEffect::Proceed | SmtpEffect::Greylist { .. } => self.say(ordinary).await,
            SmtpEffect::Reply { text } => self.say(&text).await,
            SmtpEffect::Silence { .. } => {
                self.lines.ignore().await?;
                Ok(None)
            }
            SmtpEffect::Close { .. } => Ok(None),
        }
    }

    /// Sends a reply. After 421 the conversation is over.
    async fn say(&mut self, reply: &str) -> io::Result<Answered> {
        self.lines.reply(reply).await?;
        Ok(if reply.starts_with("421") {
            None
        } else {
            reply.chars().next()
        })
    }
}

/// Address and parameters of `FROM:<address> KEY=VALUE …`.
fn path<'a>(rest: &'a str, prefix: &str) -> Option<(String, Vec<&'a str>)> {
    let rest = rest.trim_start();
    let (given, rest) = rest.split_at_checked(prefix.len())?;
    let rest = rest
        .trim_start()
        .strip_prefix('<')
        .filter(|_| given.eq_ignore_ascii_case(prefix))?;
    let (address, parameters) = rest.split_once('>')?;
    Some((address.to_owned(), parameters.split_whitespace().collect()))
}

fn mail_parameters(parameters: &[&str], max_message_bytes: usize) -> &'static str {
    for parameter in parameters {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.to_ascii_uppercase().as_str() {
            "SIZE" => match value.parse::<usize>() {
                Ok(size) if size > max_message_bytes => {
                    return "552 5.3.4 Message size exceeds fixed limit";
                }
                Ok(_) => {}
                Err(_) => return "501 5.5.4 SIZE wants a number",
            },
            "BODY"
                if value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME") => {
            }
            _ => return "555 5.5.4 Parameter not recognised",
        }
    }
    "250 2.1.0 Ok"
}

/// The limits of RFC 5321 and no white space; no more is promised by a server that relays.
fn plausible(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    !local.is_empty()
        && local.len() <= 64
        && !domain.is_empty()
        && address.len() <= 254
        && !address.contains(|letter: char| {
            letter.is_whitespace() || letter.is_control() || matches!(letter, '<' | '>')
        })
}
