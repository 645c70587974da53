//! Why somebody cannot be reached. Clients only know that there is no connection; so the way there is walked once more, a step at a time: the
//! name, the port, what is said before TLS, the certificate.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::channel::smtp::{SmtpSettings, SmtpTls};

/// For each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of a mail server's words before TLS; more is none.
const MOST_SAID: usize = 8 << 10;

/// What is in the way.
pub(super) struct Obstacle {
    pub found: String,
    pub fix: String,
}

/// What comes between the connection and what is asked over it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    None,
    Tls,
    /// TLS after a mail server was asked for it.
    StartTls,
}

/// Where somebody is, and the settings that say so.
pub(super) struct Way<'a> {
    host: &'a str,
    port: u16,
    cover: Cover,
    /// Certificates that are trusted beside the system's, in PEM.
    roots: Option<&'a str>,
    settings: &'static str,
}

impl<'a> Way<'a> {
    pub fn to_url(url: &'a Url, settings: &'static str) -> Option<Self> {
        Some(Self {
            // An IPv6 address has brackets in an URL alone.
            host: url.host_str()?.trim_matches(['[', ']']),
            port: url.port_or_known_default()?,
            cover: if url.scheme() == "https" {
                Cover::Tls
            } else {
                Cover::None
            },
            roots: None,
            settings,
        })
    }

    pub fn to_mail_server(settings: &'a SmtpSettings) -> Self {
        Self {
            host: &settings.host,
            port: settings.port,
            cover: match settings.tls {
                SmtpTls::None => Cover::None,
                SmtpTls::Implicit => Cover::Tls,
                SmtpTls::StartTls => Cover::StartTls,
            },
            roots: settings.extra_root_pem.as_deref(),
            settings: "SMTP_HOST and SMTP_PORT",
        }
    }

    /// What is in the way; `None`: it can be walked to its end.
    pub async fn obstacle(&self) -> Option<Obstacle> {
        let mut stream = match self.connection().await {
            Ok(stream) => stream,
            Err(obstacle) => return Some(obstacle),
        };
        if self.cover == Cover::None {
            return None;
        }
        let handshake = tokio::time::timeout(PATIENCE, async {
            if self.cover == Cover::StartTls && !asked_for_tls(&mut stream).await? {
                // That it has none its own client says.
                return Ok(());
            }
            let name = ServerName::try_from(self.host.to_owned()).map_err(io::Error::other)?;
            let connector = TlsConnector::from(Arc::new(self.trust()));
            connector.connect(name, stream).await.map(drop)
        });
        match handshake.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => of_certificate(&error),
            Err(_) => Some(self.silent("the server takes the connection and does not begin TLS")),
        }
    }

    async fn connection(&self) -> Result<TcpStream, Obstacle> {
        let known = tokio::time::timeout(PATIENCE, lookup_host((self.host, self.port))).await;
        let addresses: Vec<_> = match known {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(_)) => Vec::new(),
            Err(_) => return Err(self.silent("this machine's DNS does not answer")),
        };
        if addresses.is_empty() {
            return Err(Obstacle {
                found: "the host name is unknown".to_owned(),
                fix: format!("Correct {}, or check this machine's DNS.", self.settings),
            });
        }
        // One that answers is enough.
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(&addresses[..])).await;
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Obstacle {
                found: "the port is closed".to_owned(),
                fix: format!(
                    "Nothing listens there: correct {}, or start it.",
                    self.settings
                ),
            }),
            Ok(Err(error)) => Err(Obstacle {
                found: error.to_string(),
                fix: format!("Check the network from here, and {}.", self.settings),
            }),
            Err(_) => Err(self.silent("no answer within five seconds")),
        }
    }

    fn silent(&self, found: &str) -> Obstacle {
        Obstacle {
            found: found.to_owned(),
            fix: format!(
                "Something swallows what is sent: look at firewalls and network policies on the way, and at {}.",
                self.settings
            ),
        }
    }

    /// Whom the clients trust, too.
    fn trust(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let more = self.roots.unwrap_or_default().as_bytes();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(more).flatten());
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// Whether the mail server says that TLS may begin.
async fn asked_for_tls(stream: &mut TcpStream) -> io::Result<bool> {
    for (ask, done) in [
        ("", "220 "),
        ("EHLO localhost\r\n", "250 "),
        ("STARTTLS\r\n", "220 "),
    ] {
        stream.write_all(ask.as_bytes()).await?;
        if !last_line(stream).await?.starts_with(done) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The line that ends a reply: those before it have a hyphen after the code.
async fn last_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    for _ in 0..MOST_SAID {
        let byte = stream.read_u8().await?;
        if byte != b'\n' {
            line.push(byte);
        } else if line.get(3) == Some(&b'-') {
            line.clear();
        } else {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// What an error says of the server's certificate; `None`: it is about something else.
pub(super) fn of_certificate(error: &(dyn Error + 'static)) -> Option<Obstacle> {
    let rustls::Error::InvalidCertificate(fault) = tls_fault(error)? else {
        return None;
    };
    let renew = "Renew the server's certificate, or ask its administrator to.";
    let clock =
        "Set this machine's clock (timedatectl set-ntp true), or look at the server's certificate.";
    let (found, fix) = match fault {
        CertificateError::ExpiredContext { not_after, .. } => (
            format!("the server's certificate ended on {}", day(*not_after)),
            renew,
        ),
        CertificateError::Expired => ("the server's certificate has ended".to_owned(), renew),
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("the server's certificate begins on {}", day(*not_before)),
            clock,
        ),
        CertificateError::NotValidYet => {
            ("the server's certificate has not begun".to_owned(), clock)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            "the server's certificate is for another name".to_owned(),
            "Use the host name that the certificate has, or have it made for this one.",
        ),
        CertificateError::UnknownIssuer => (
            "the server's certificate is of an issuer that is not trusted here".to_owned(),
            "Install the issuer's root certificate on this machine; for the database name it with sslrootcert in DATABASE_URL. A proxy that reads along has one of its own.",
        ),
        other => (
            format!("the server's certificate is refused: {other}"),
            renew,
        ),
    };
    Some(Obstacle {
        found,
        fix: fix.to_owned(),
    })
}

/// The fault of TLS that an error has in it, however it is wrapped.
fn tls_fault<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref() {
            return Some(fault);
        }
        // An error of the system shows what it was made of here alone.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn day(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok();
    let at = at.and_then(|at| DateTime::<Utc>::from_timestamp(at, 0));
    at.map_or_else(
        || "an unknown day".to_owned(),
        |at| at.format("%Y-%m-%d").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_certificate_is_found_in_whatever_it_is_wrapped_and_told_with_its_day() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext {
            time: at(0),
            not_after: at(1_700_000_000),
        };
        let io = io::Error::other(rustls::Error::InvalidCertificate(expired));
        let wrapped = sqlx::Error::Io(io);
        assert_eq!(
            of_certificate(&wrapped).unwrap().found,
            "the server's certificate ended on 2023-11-14"
        );
        let early = CertificateError::NotValidYetContext {
            time: at(0),
            not_before: at(1_700_000_000),
        };
        let early = rustls::Error::InvalidCertificate(early);
        assert!(of_certificate(&early).unwrap().fix.contains("clock"));
        assert!(of_certificate(&io::Error::other("broken")).is_none());
    }
}
