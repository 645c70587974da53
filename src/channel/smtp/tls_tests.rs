//! Both ways into TLS, against a real handshake: a certificate for `localhost` that only these tests trust.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::tests::{accepted, send, settings};
use super::*;
use crate::domain::outcome::{Outcome, Retryable};

const CERTIFICATE: &str = include_str!("../../../tests/fixtures/channels/tls/mail.cert.pem");
const KEY: &str = include_str!("../../../tests/fixtures/channels/tls/mail.key.pem");

fn server_config() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

/// A server in a thread that plays any number of connections; returns its port.
fn serve(tls: SmtpTls) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            // A client that dislikes the certificate hangs up: the end of that connection, not of the server.
            let _ = play(socket.unwrap(), tls);
        }
    });
    port
}

fn play(mut socket: TcpStream, tls: SmtpTls) -> std::io::Result<()> {
    if tls == SmtpTls::StartTls {
        socket.write_all(b"220 mail.example\r\n")?;
        let mut plain = BufReader::new(socket.try_clone()?);
        expect(&mut plain, "EHLO")?;
        socket.write_all(b"250-mail.example\r\n250 STARTTLS\r\n")?;
        expect(&mut plain, "STARTTLS")?;
        // What somebody on the way slips in before the handshake must not be taken for the server's word under TLS.
        socket.write_all(b"220 go\r\n250-mail.example\r\n250 AUTH LOGIN\r\n")?;
    }
    let connection = ServerConnection::new(server_config()).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    if tls == SmtpTls::Implicit {
        stream.get_mut().write_all(b"220 mail.example\r\n")?;
    }
    let mut in_message = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let reply: &[u8] = match line.split([' ', '\r']).next().unwrap_or_default() {
            "." => b"250 queued as ABC123\r\n",
            _ if in_message => continue,
            "DATA" => b"354 go on\r\n",
            _ => b"250 ok\r\n",
        };
        in_message = reply.starts_with(b"354");
        stream.get_mut().write_all(reply)?;
    }
}

fn expect(plain: &mut BufReader<impl Read>, verb: &str) -> std::io::Result<()> {
    let mut line = String::new();
    plain.read_line(&mut line)?;
    assert!(line.starts_with(verb), "{line}");
    Ok(())
}

fn pool(port: u16, tls: SmtpTls, host: &str, trusted: bool) -> Pool {
    let settings = SmtpSettings {
        host: host.to_owned(),
        tls,
        extra_root_pem: trusted.then(|| CERTIFICATE.to_owned()),
        timeouts: Timeouts::default(),
        ..settings(port)
    };
    Pool::new(settings, 1).unwrap()
}

#[tokio::test]
async fn a_message_goes_over_tls_in_both_ways() {
    for tls in [SmtpTls::Implicit, SmtpTls::StartTls] {
        let pool = pool(serve(tls), tls, "localhost", true);
        assert_eq!(send(&pool, "one").await, accepted(), "{tls:?}");
        assert_eq!(send(&pool, "two").await, accepted(), "{tls:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_for_another_host_is_a_matter_of_settings() {
    for (tls, phase) in [
        (SmtpTls::Implicit, "connect"),
        (SmtpTls::StartTls, "starttls"),
    ] {
        for (host, trusted) in [("localhost", false), ("127.0.0.1", true)] {
            let pool = pool(serve(tls), tls, host, trusted);
            let failure = pool.check().await.unwrap_err();
            assert_eq!(failure.code(), format!("{phase} tls failed"), "{host}");
            assert!(matches!(
                failure.outcome(),
                Outcome::NotAccepted {
                    class: Retryable::Config,
                    ..
                }
            ));
        }
    }
}

#[tokio::test]
async fn root_certificates_that_are_none_are_refused_at_start() {
    let settings = SmtpSettings {
        tls: SmtpTls::Implicit,
        extra_root_pem: Some(
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----".to_owned(),
        ),
        ..settings(465)
    };
    assert!(matches!(
        Pool::new(settings, 1),
        Err(SmtpSettingsError::RootCertificates)
    ));
}
