//! One conversation with a client, from the greeting to its end.

mod token;
mod transaction;

use std::io;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use tokio::io::{AsyncRead, AsyncWrite};

use super::faults::{Phase, SmtpEffect};
use super::stream::{Lines, SmtpLine};
use super::{SmtpOptions, SmtpShared};

/// Octets of a command line; RFC 5321 asks for 512, and AUTH needs more.
const COMMAND_LINE: usize = 12_288;

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
    server: &'a SmtpShared,
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
pub async fn run<S>(server: &SmtpShared, stream: S, secure: bool) -> io::Result<Option<S>>
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
pub async fn run_upgraded<S>(server: &SmtpShared, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Session::new(server, stream, true).talk().await.map(drop)
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(server: &'a SmtpShared, stream: S, secure: bool) -> Self {
        Self {
            server,
            lines: Lines::new(stream),
            secure,
            greeted: false,
            signed_in: server.options.mechanisms().is_empty(),
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
                Some(SmtpLine::Whole(line) | SmtpLine::BareLf(line)) => {
                    return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
                }
                Some(SmtpLine::TooLong) => self.say("500 5.5.2 Line too long").await?,
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
        } else if !options.mechanisms().is_empty() {
            lines.push(format!("AUTH {}", options.mechanisms().join(" ")));
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
        if self.options().mechanisms().is_empty() {
            return self.say("503 5.5.1 AUTH is not offered").await;
        }
        if self.may_start_tls() {
            return self
                .say("538 5.7.11 Encryption required for this mechanism")
                .await;
        }
        let mut words = rest.split_whitespace();
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next();
        if let (Some(oauth), "XOAUTH2") = (&self.options().oauth, mechanism.as_str()) {
            return self.auth_by_token(oauth, initial).await;
        }
        let Some(expected) = &self.options().credentials else {
            return self.say("504 5.7.4 Unrecognized authentication type").await;
        };
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
        self.note_sign_in(answered);
        Ok(answered)
    }

    fn note_sign_in(&mut self, answered: Answered) {
        self.signed_in = answered == Some('2');
        if !self.signed_in {
            self.server
                .denied
                .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
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
