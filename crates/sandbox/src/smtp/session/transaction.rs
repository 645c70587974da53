//! One message: sender, recipients, and its text up to the final dot.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Answered, Session};
use crate::smtp::SmtpShared;
use crate::smtp::faults::{Phase, SmtpEffect};
use crate::smtp::stream::SmtpLine;

/// Octets of a line of the message, without CRLF (RFC 5321, 4.5.3.1.6).
const TEXT_LINE: usize = 998;
const MAX_RECIPIENTS: usize = 100;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn mail(&mut self, rest: &str) -> io::Result<Answered> {
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

    pub(super) async fn rcpt(&mut self, rest: &str) -> io::Result<Answered> {
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

    pub(super) async fn data(&mut self) -> io::Result<Answered> {
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
        let SmtpShared {
            outbox,
            clock,
            postmaster,
            ..
        } = self.server;
        let id = outbox.accept_mail(clock.now(), from, to.clone(), raw);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        postmaster.accepted(id, &to);
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
                Some(SmtpLine::Whole(line)) if line == b"." => {
                    return Ok(Some(refusal.map_or(Ok(raw), Err)));
                }
                Some(SmtpLine::Whole(line)) => line,
                Some(SmtpLine::BareLf(line)) => {
                    refusal = Some("550 5.6.11 Bare line feeds are illegal");
                    line
                }
                Some(SmtpLine::TooLong) => {
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
