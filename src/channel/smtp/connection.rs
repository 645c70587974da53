//! One SMTP connection, driven step by step.
//!
//! lettre's pooled transport bounds only the TCP connect in time and, when a send is cancelled, hands the next message the
//! previous one's reply. Here every step has its own time limit, so the step that failed is known, and whoever drops a
//! connection in the middle drops the socket with it.

use std::fmt::Display;
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension};
use lettre::transport::smtp::response::Response;
use tokio::time::{Instant, timeout};

use super::classify::{Fault, Phase, Reply, classify, code};
use super::email::Message;
use super::{Settings, Tls};
use crate::channel::LastLook;
use crate::domain::outcome::Outcome;

/// A step that failed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub phase: Phase,
    pub fault: Fault,
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
            (_, Phase::Rcpt | Phase::Data | Phase::Final) => None,
            (Fault::Reply(reply), _) => {
                Some(crate::channel::clean::line(&reply.text, 200)).filter(|t| !t.is_empty())
            }
            _ => None,
        }
    }

    /// Whether a *reused* connection was simply gone: nothing of this message had been taken, a fresh one may do.
    pub(super) fn is_stale_connection(&self) -> bool {
        let closing = match &self.fault {
            Fault::Reply(reply) => reply.code == 421,
            Fault::TimedOut | Fault::Lost => true,
            Fault::Tls | Fault::NotOffered => false,
        };
        self.phase == Phase::Reset || (self.phase == Phase::Mail && closing)
    }

    /// After a plain refusal both sides agree where they are; after anything else they may not.
    fn leaves_connection_usable(&self) -> bool {
        matches!(&self.fault, Fault::Reply(reply) if reply.code != 421)
            && self.phase != Phase::Reset
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

pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    /// Messages handed over or refused so far.
    messages: u32,
    state: State,
    pub idle_since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    /// The last transaction was refused, or given up before its content: RSET first.
    Refused,
    /// In the middle of a transaction, or broken there: good for nothing.
    Unclear,
}

impl Connection {
    /// Connects, agrees on TLS and logs in.
    pub async fn open(settings: &Settings, tls: Option<&TlsParameters>) -> Result<Self, Failure> {
        let times = &settings.timeouts;
        let hello = ClientId::Domain(settings.hello_name.clone());
        let implicit = tls.filter(|_| settings.tls == Tls::Implicit).cloned();
        let server = (settings.host.as_str(), settings.port);
        // lettre limits each TCP connect itself; the sum covers name look-up, TLS, greeting and EHLO.
        let opening = AsyncSmtpConnection::connect_tokio1(
            server,
            Some(times.connect),
            &hello,
            implicit,
            None,
        );
        let mut smtp = step(Phase::Connect, times.connect + times.greeting, opening).await?;

        if let Some(tls) = tls.filter(|_| settings.tls == Tls::StartTls) {
            if !smtp.server_info().supports_feature(Extension::StartTls) {
                return Err(Failure {
                    phase: Phase::StartTls,
                    fault: Fault::NotOffered,
                });
            }
            let upgrade = smtp.starttls(tls.clone(), &hello);
            step(Phase::StartTls, times.greeting, upgrade).await?;
        }
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            let login = smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
            step(Phase::Auth, times.command, login).await?;
        }
        Ok(Self {
            smtp,
            messages: 0,
            state: State::Ready,
            idle_since: Instant::now(),
        })
    }

    /// Hands over one message, unless it is withdrawn before its content leaves.
    pub async fn send(
        &mut self,
        message: &Message,
        settings: &Settings,
        withdrawn: LastLook<'_>,
    ) -> Result<Handover, Failure> {
        let was_refused = self.state == State::Refused;
        self.state = State::Unclear;
        self.messages += 1;
        let result = self
            .transaction(message, settings, was_refused, withdrawn)
            .await;
        match &result {
            Ok(Handover::Acknowledged(_)) => self.state = State::Ready,
            Err(failure) if failure.leaves_connection_usable() => self.state = State::Refused,
            Ok(Handover::Withdrawn(_)) | Err(_) => {}
        }
        self.idle_since = Instant::now();
        result
    }

    async fn transaction(
        &mut self,
        message: &Message,
        settings: &Settings,
        reset_first: bool,
        withdrawn: LastLook<'_>,
    ) -> Result<Handover, Failure> {
        let (command, last) = (settings.timeouts.command, settings.timeouts.final_reply);
        if reset_first {
            self.command(Phase::Reset, command, "RSET\r\n", &[250])
                .await?;
        }
        let mail = Mail::new(Some(message.from.clone()), vec![]);
        self.command(Phase::Mail, command, mail, &[250]).await?;
        let rcpt = Rcpt::new(message.to.clone(), vec![]);
        self.command(Phase::Rcpt, command, rcpt, &[250, 251])
            .await?;
        if let Some(outcome) = withdrawn() {
            // Kept open: what was slow about it may have been the way here, and the next try has that behind it.
            self.state = State::Refused;
            return Ok(Handover::Withdrawn(outcome));
        }
        self.command(Phase::Data, command, Data, &[354]).await?;
        if let Some(outcome) = withdrawn() {
            return Ok(Handover::Withdrawn(outcome));
        }
        // Content and final dot in one write, as if they were a command: lettre's own `message` writes the dot separately, and
        // the kernel would hold that small packet back until the server acknowledged the first.
        let reply = self
            .command(Phase::Final, last, message.wire.as_str(), &[250])
            .await?;
        let words = reply.message().collect::<Vec<_>>().join(" ");
        Ok(Handover::Acknowledged(words))
    }

    /// Sends one command and insists on one of the `expected` codes: another positive code means that the replies have got out of
    /// step with the commands.
    async fn command(
        &mut self,
        phase: Phase,
        limit: Duration,
        command: impl Display,
        expected: &[u16],
    ) -> Result<Response, Failure> {
        let reply = step(phase, limit, self.smtp.command(command)).await?;
        if expected.contains(&u16::from(reply.code())) {
            Ok(reply)
        } else {
            Err(Failure {
                phase,
                fault: Fault::Lost,
            })
        }
    }

    pub fn is_usable(&self, max_messages: u32, max_idle: Duration) -> bool {
        self.state != State::Unclear
            && self.messages < max_messages
            && self.idle_since.elapsed() < max_idle
    }

    /// Says goodbye if the two sides still understand each other. Whatever the server answers changes nothing.
    pub async fn close(mut self) {
        if self.state != State::Unclear {
            let _ = timeout(Duration::from_secs(2), self.smtp.quit()).await;
        }
    }
}

async fn step<T>(
    phase: Phase,
    limit: Duration,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match timeout(limit, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failure(phase, &error)),
        Err(_) => Err(Failure {
            phase,
            fault: Fault::TimedOut,
        }),
    }
}

fn failure(phase: Phase, error: &Error) -> Failure {
    let fault = if let Some(status) = error.status() {
        let text = std::error::Error::source(error).map(ToString::to_string);
        Fault::Reply(Reply::new(status.into(), &text.unwrap_or_default()))
    } else if is_tls(error) {
        Fault::Tls
    } else if error.is_timeout() {
        Fault::TimedOut
    } else if error.is_client() && phase == Phase::Auth {
        // No login method in common.
        Fault::NotOffered
    } else {
        Fault::Lost
    };
    let phase = match (phase, &fault) {
        (Phase::Connect, Fault::Reply(_)) => Phase::Greeting,
        (phase, _) => phase,
    };
    Failure { phase, fault }
}

/// lettre reports a failed handshake as a connection error; the cause is further down.
fn is_tls(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>()
            || inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            return true;
        }
        cause = error.source();
    }
    error.is_tls()
}
