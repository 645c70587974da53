//! One SMTP connection, driven step by step.
//!
//! Every step has its own time limit, so the step that failed is known, and whoever drops a connection in the middle drops the
//! socket with it. Commands are not pipelined: which reply belongs to which command is never a question. A step succeeds by the
//! first digit of its reply; a good reply of the wrong kind means that the two sides are out of step.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::classify::{SmtpPhase, StepFault, classify, code};
use super::email::WireMail;
use super::login;
use super::oauth::{TokenFault, Tokens};
use super::reply::{Offers, ReplyLines};
use super::settings::Credential;
use super::tls::TlsParameters;
use super::wire::SmtpWire;
use super::{SmtpSettings, SmtpTls};
use crate::channel::LastCheck;
use crate::domain::outcome::Outcome;
use crate::secret::Secret;

/// A step that failed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub phase: SmtpPhase,
    pub fault: StepFault,
}

impl Failure {
    pub fn outcome(&self) -> Outcome {
        classify(self.phase, &self.fault)
    }

    /// Such as `auth 535 5.7.8`.
    pub fn code(&self) -> String {
        code(self.phase, &self.fault)
    }

    /// The server's words, for the operator. Only of steps before any recipient was named: later replies quote addresses.
    pub fn hint(&self) -> Option<String> {
        match (&self.fault, self.phase) {
            (_, SmtpPhase::Rcpt | SmtpPhase::Data | SmtpPhase::Final) => None,
            (StepFault::Reply(reply), _) => {
                Some(crate::channel::clean::line(&reply.text, 200)).filter(|t| !t.is_empty())
            }
            _ => None,
        }
    }

    /// Whether a *reused* connection was simply gone: nothing of this message had been taken, a fresh one may do.
    pub(super) fn is_stale_connection(&self) -> bool {
        let closing = match &self.fault {
            StepFault::Reply(reply) => reply.code == 421,
            StepFault::TimedOut | StepFault::Lost | StepFault::Unreadable => true,
            StepFault::Tls | StepFault::NotOffered | StepFault::NoToken(_) => false,
        };
        self.phase == SmtpPhase::Reset || (self.phase == SmtpPhase::Mail && closing)
    }

    /// Whether the server took AUTH for what it is and refuses the token: a new one may do.
    fn refuses_token(&self) -> bool {
        let refused = |reply: &super::Reply| reply.is_permanent() && reply.code != 504;
        self.phase == SmtpPhase::AuthToken
            && matches!(&self.fault, StepFault::Reply(reply) if refused(reply))
    }

    /// After a plain refusal both sides agree where they are; after anything else they may not.
    fn leaves_connection_usable(&self) -> bool {
        matches!(&self.fault, StepFault::Reply(reply) if reply.code != 421)
            && self.phase != SmtpPhase::Reset
    }
}

/// How a transaction ended that did not fail.
#[derive(Debug)]
pub(super) enum Handover {
    /// The server's acknowledgement.
    Acknowledged(String),
    /// There was a reason not to go on; nothing of the content had left.
    Withdrawn(Outcome),
}

pub(super) struct SmtpConnection {
    wire: SmtpWire,
    /// Messages handed over or refused so far.
    messages: u32,
    state: ConnectionState,
    pub idle_since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    Ready,
    /// The last transaction was refused, or given up before its content: RSET first.
    Refused,
    /// In the middle of a transaction, or broken there: good for nothing.
    Unclear,
}

impl SmtpConnection {
    /// Connects, agrees on TLS and logs in; where a token is refused, once more with a new one.
    pub async fn open(
        settings: &SmtpSettings,
        tls: Option<&TlsParameters>,
        tokens: Option<&Tokens>,
    ) -> Result<Self, Failure> {
        let Some(tokens) = tokens else {
            return Self::open_with(settings, tls, None).await;
        };
        // Before anything is said to the server, which does not wait for long.
        let token = tokens.token().await.map_err(Failure::without_token)?;
        let refused = match Self::open_with(settings, tls, Some(&token)).await {
            Err(failure) if failure.refuses_token() => token,
            opened => return opened,
        };
        let token = tokens.instead_of(&refused).await;
        let token = token.map_err(Failure::without_token)?;
        let opened = Self::open_with(settings, tls, Some(&token)).await;
        if opened.as_ref().is_err_and(Failure::refuses_token) {
            tokens.forget(&token);
        }
        opened
    }

    async fn open_with(
        settings: &SmtpSettings,
        tls: Option<&TlsParameters>,
        token: Option<&Arc<Secret>>,
    ) -> Result<Self, Failure> {
        let times = &settings.timeouts;
        let hello = format!("EHLO {}\r\n", hello_name(&settings.hello_name));
        // Each TCP connect has its own limit; the sum covers name look-up, TLS, greeting and EHLO.
        let opening = greeted(settings, tls, &hello);
        let opened = within(SmtpPhase::Connect, times.connect + times.greeting, opening).await;
        let (mut wire, mut offers) = opened.map_err(Failure::of_greeting)?;

        if let Some(tls) = tls.filter(|_| settings.tls == SmtpTls::StartTls) {
            if !offers.starttls {
                return Err(Failure {
                    phase: SmtpPhase::StartTls,
                    fault: StepFault::NotOffered,
                });
            }
            let upgrade = upgraded(wire, tls, &hello);
            (wire, offers) = within(SmtpPhase::StartTls, times.greeting, upgrade).await?;
        }
        if let Some(login) = &settings.login {
            match (&login.credential, token) {
                (Credential::Password(password), _) => {
                    let login = login::log_in(&mut wire, offers, &login.user, password);
                    within(SmtpPhase::Auth, times.command, login).await?;
                }
                (Credential::Token(_), Some(token)) => {
                    let login = login::with_token(&mut wire, offers, &login.user, token);
                    within(SmtpPhase::AuthToken, times.command, login).await?;
                }
                // The pool has tokens wherever the settings ask for them.
                (Credential::Token(_), None) => {}
            }
        }
        Ok(Self {
            wire,
            messages: 0,
            state: ConnectionState::Ready,
            idle_since: Instant::now(),
        })
    }

    /// Hands over one message, unless it is withdrawn before its content leaves.
    pub async fn send(
        &mut self,
        message: &WireMail,
        settings: &SmtpSettings,
        withdrawn: LastCheck<'_>,
    ) -> Result<Handover, Failure> {
        let was_refused = self.state == ConnectionState::Refused;
        self.state = ConnectionState::Unclear;
        self.messages += 1;
        let result = self
            .transaction(message, settings, was_refused, withdrawn)
            .await;
        match &result {
            Ok(Handover::Acknowledged(_)) => self.state = ConnectionState::Ready,
            Err(failure) if failure.leaves_connection_usable() => {
                self.state = ConnectionState::Refused;
            }
            Ok(Handover::Withdrawn(_)) | Err(_) => {}
        }
        self.idle_since = Instant::now();
        result
    }

    async fn transaction(
        &mut self,
        message: &WireMail,
        settings: &SmtpSettings,
        reset_first: bool,
        withdrawn: LastCheck<'_>,
    ) -> Result<Handover, Failure> {
        let (limit, last) = (settings.timeouts.command, settings.timeouts.final_reply);
        if reset_first {
            self.command(SmtpPhase::Reset, limit, "RSET\r\n", 2).await?;
        }
        // Addresses are lettre's: ASCII, without line ends.
        let mail = format!("MAIL FROM:<{}>\r\n", message.from);
        self.command(SmtpPhase::Mail, limit, &mail, 2).await?;
        let rcpt = format!("RCPT TO:<{}>\r\n", message.to);
        let of_message = |failure: Failure| failure.answering(message, &settings.hello_name);
        let taken = self.command(SmtpPhase::Rcpt, limit, &rcpt, 2).await;
        taken.map_err(of_message)?;
        if let Some(outcome) = withdrawn().await {
            // Kept open: what was slow about it may have been the way here, and the next try has that behind it.
            self.state = ConnectionState::Refused;
            return Ok(Handover::Withdrawn(outcome));
        }
        let goes_on = self.command(SmtpPhase::Data, limit, "DATA\r\n", 3).await;
        goes_on.map_err(of_message)?;
        if let Some(outcome) = withdrawn().await {
            return Ok(Handover::Withdrawn(outcome));
        }
        // Content and final dot in one write, as if they were a command.
        let reply = self.command(SmtpPhase::Final, last, &message.wire, 2).await;
        let reply = reply.map_err(of_message)?;
        Ok(Handover::Acknowledged(reply.lines.join(" ")))
    }

    /// Sends one command and insists on a reply of the class `expected`.
    async fn command(
        &mut self,
        phase: SmtpPhase,
        limit: Duration,
        command: &str,
        expected: u16,
    ) -> Result<ReplyLines, Failure> {
        let asking = async { of_class(expected, self.wire.ask(command).await?) };
        within(phase, limit, asking).await
    }

    pub fn is_usable(&self, max_messages: u32, max_idle: Duration) -> bool {
        self.state != ConnectionState::Unclear
            && self.messages < max_messages
            && self.idle_since.elapsed() < max_idle
    }

    /// Says goodbye if the two sides still understand each other. Whatever the server answers changes nothing.
    pub async fn close(mut self) {
        if self.state != ConnectionState::Unclear {
            let _ = timeout(Duration::from_secs(2), self.wire.ask("QUIT\r\n")).await;
        }
    }
}

impl Failure {
    fn without_token(fault: TokenFault) -> Self {
        Self {
            phase: SmtpPhase::Token,
            fault: StepFault::NoToken(fault),
        }
    }

    /// Said to this message: whom of sender and recipient a refusal quotes says whom it is about.
    fn answering(self, message: &WireMail, hello: &str) -> Self {
        let (from, to): (&str, &str) = (message.from.as_ref(), message.to.as_ref());
        match self.fault {
            StepFault::Reply(reply) => Self {
                fault: StepFault::Reply(reply.answering(from, to, hello)),
                ..self
            },
            _ => self,
        }
    }

    /// A reply, readable or not, to the first steps is the greeting's; anything else happened on the way there.
    fn of_greeting(self) -> Self {
        match self.fault {
            StepFault::Reply(_) | StepFault::Unreadable => Self {
                phase: SmtpPhase::Greeting,
                ..self
            },
            _ => self,
        }
    }
}

/// TCP, TLS if it is implicit, greeting and EHLO.
async fn greeted(
    settings: &SmtpSettings,
    tls: Option<&TlsParameters>,
    hello: &str,
) -> Result<(SmtpWire, Offers), StepFault> {
    let stream = connected(settings).await?;
    // Without it the second of two small writes would wait for the first one's acknowledgement.
    stream.set_nodelay(true).map_err(|_| StepFault::Lost)?;
    let mut wire = SmtpWire::new(stream);
    if let Some(tls) = tls.filter(|_| settings.tls == SmtpTls::Implicit) {
        wire = wire.encrypt(tls).await?;
    }
    of_class(2, wire.reply().await?)?;
    match of_class(2, wire.ask(hello).await?) {
        // A server from before EHLO (RFC 5321, 3.2): it offers nothing, which may be all that is needed.
        Err(StepFault::Reply(reply)) if matches!(reply.code, 500 | 502) => {
            let hello = hello.replacen("EHLO", "HELO", 1);
            of_class(2, wire.ask(&hello).await?)?;
            Ok((wire, Offers::default()))
        }
        offers => Ok((wire, Offers::of(&offers?))),
    }
}

/// The first of the host's addresses that takes a connection.
async fn connected(settings: &SmtpSettings) -> Result<TcpStream, StepFault> {
    let server = (settings.host.as_str(), settings.port);
    let addresses = lookup_host(server).await.map_err(|_| StepFault::Lost)?;
    let mut fault = StepFault::Lost;
    for address in addresses.collect::<Vec<SocketAddr>>() {
        match timeout(settings.timeouts.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) => fault = StepFault::Lost,
            Err(_) => fault = StepFault::TimedOut,
        }
    }
    Err(fault)
}

/// STARTTLS, the handshake, and EHLO anew: what was offered before it was said in the clear.
async fn upgraded(
    mut wire: SmtpWire,
    tls: &TlsParameters,
    hello: &str,
) -> Result<(SmtpWire, Offers), StepFault> {
    of_class(2, wire.ask("STARTTLS\r\n").await?)?;
    let mut wire = wire.encrypt(tls).await?;
    let offers = of_class(2, wire.ask(hello).await?)?;
    Ok((wire, Offers::of(&offers)))
}

/// The reply if it is of this class; a refusal, or out of step.
pub(super) fn of_class(expected: u16, lines: ReplyLines) -> Result<ReplyLines, StepFault> {
    match lines.code / 100 {
        class if class == expected => Ok(lines),
        4 | 5 => Err(StepFault::Reply(lines.reply())),
        _ => Err(StepFault::Unreadable),
    }
}

async fn within<T>(
    phase: SmtpPhase,
    limit: Duration,
    doing: impl Future<Output = Result<T, StepFault>>,
) -> Result<T, Failure> {
    let done = timeout(limit, doing)
        .await
        .unwrap_or(Err(StepFault::TimedOut));
    done.map_err(|fault| Failure { phase, fault })
}

/// What EHLO says: a host name as it is, an address as a literal in brackets (RFC 5321, 4.1.3).
fn hello_name(name: &str) -> String {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let bare = bare.unwrap_or(name);
    let bare = bare.strip_prefix("IPv6:").unwrap_or(bare);
    match bare.parse() {
        Ok(IpAddr::V4(address)) => format!("[{address}]"),
        Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_said_as_a_literal() {
        for (name, said) in [
            ("reminders.example.com", "reminders.example.com"),
            ("localhost", "localhost"),
            ("192.0.2.1", "[192.0.2.1]"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("2001:db8::1", "[IPv6:2001:db8::1]"),
            // As a URL has it.
            ("[2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("::ffff:192.0.2.1", "[IPv6:::ffff:192.0.2.1]"),
        ] {
            assert_eq!(hello_name(name), said, "{name}");
        }
    }
}
