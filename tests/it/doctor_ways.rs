//! `unread doctor`: why somebody is not reached, told apart: an unknown name, a closed port, silence, a certificate that has ended.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use unread::doctor::DoctorFinding;

use crate::doctor::{World, dead_port, failed, silent_port};

const CERTIFICATE: &str = include_str!("../fixtures/tls/expired-cert.pem");
const KEY: &str = include_str!("../fixtures/tls/expired-key.pem");

/// What a server and its client say before TLS.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Mail,
    Postgres,
}

/// A server whose certificate has ended on the last day of 2025.
async fn expired(before: Before) -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who dislikes the certificate hangs up.
                if greet(&mut stream, before).await.is_ok() {
                    let _ = acceptor.accept(stream).await;
                }
            });
        }
    });
    port
}

async fn greet(stream: &mut TcpStream, before: Before) -> std::io::Result<()> {
    match before {
        Before::Nothing => {}
        Before::Mail => {
            stream.write_all(b"220 mail.example\r\n").await?;
            line(stream).await?;
            stream
                .write_all(b"250-mail.example\r\n250 STARTTLS\r\n")
                .await?;
            line(stream).await?;
            stream.write_all(b"220 go\r\n").await?;
        }
        Before::Postgres => {
            stream.read_exact(&mut [0; 8]).await?;
            stream.write_all(b"S").await?;
        }
    }
    Ok(())
}

/// What the client says, to the end of the line.
async fn line(stream: &mut TcpStream) -> std::io::Result<()> {
    while stream.read_u8().await? != b'\n' {}
    Ok(())
}

/// The one red line of a part: what was found, and what helps.
async fn told(world: &World, part: &str) -> (String, String) {
    let lines = world.examined().await;
    let red = failed(&lines);
    let of_part: Vec<&&DoctorFinding> = red.iter().filter(|line| line.part == part).collect();
    let [line] = of_part[..] else {
        panic!("{of_part:#?}");
    };
    (line.found.clone(), line.fix.clone().unwrap_or_default())
}

#[tokio::test]
async fn why_liveperson_is_not_reached_is_told_apart() {
    let mut world = World::new().await;
    let (silent, _kept) = silent_port();
    let cases = [
        (
            "http://liveperson.invalid".to_owned(),
            "the host name is unknown",
        ),
        (
            format!("http://127.0.0.1:{}", dead_port()),
            "the port is closed",
        ),
        (
            format!("https://localhost:{}", expired(Before::Nothing).await),
            "the server's certificate ended on 2025-12-31",
        ),
        (format!("https://127.0.0.1:{silent}"), "does not begin TLS"),
    ];
    for (url, found) in cases {
        world.set("UNREAD_LIVEPERSON_URL", url.clone());
        let (said, fix) = told(&world, "LivePerson 12345678").await;
        assert!(said.contains(found), "{url}: {said}");
        assert!(!fix.is_empty());
    }
    world.sandbox.stop().await;
}

#[tokio::test]
async fn why_the_mail_server_is_not_reached_is_told_apart() {
    let mut world = World::new().await;
    let well = world.settings.clone();
    let (implicit, starttls) = (expired(Before::Nothing).await, expired(Before::Mail).await);
    let closed = dead_port();
    let cases = [
        ("mail.invalid", 25, "none", "the host name is unknown"),
        ("127.0.0.1", closed, "none", "the port is closed"),
        (
            "localhost",
            implicit,
            "implicit",
            "the server's certificate ended on 2025-12-31",
        ),
        (
            "localhost",
            starttls,
            "starttls",
            "the server's certificate ended on 2025-12-31",
        ),
    ];
    for (host, port, tls, found) in cases {
        world.set("SMTP_HOST", host);
        world.set("SMTP_PORT", port.to_string());
        world.set("SMTP_TLS", tls);
        let (said, fix) = told(&world, "e-mail").await;
        assert!(said.contains(found), "{host} {tls}: {said}");
        assert!(!fix.is_empty());
        world.settings.clone_from(&well);
    }
    // What the way is not to blame for keeps its own words.
    world.set("SMTP_PASS", "wrong");
    let (_, fix) = told(&world, "e-mail").await;
    assert!(fix.contains("SMTP_PASS"), "{fix}");
    world.sandbox.stop().await;
}

#[tokio::test]
async fn a_database_whose_certificate_has_ended_is_told_with_its_day() {
    let mut world = World::new().await;
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/tls/expired-cert.pem"
    );
    let port = expired(Before::Postgres).await;
    world.set(
        "DATABASE_URL",
        format!("postgres://ann@localhost:{port}/unread?sslmode=verify-full&sslrootcert={root}"),
    );
    let (said, fix) = told(&world, "database").await;
    assert!(said.contains("ended on 2025-12-31"), "{said}");
    assert!(fix.contains("Renew"), "{fix}");
    world.sandbox.stop().await;
}

#[tokio::test]
async fn of_several_servers_the_one_that_takes_changes_is_used_and_those_away_are_told() {
    let mut world = World::new().await;
    let url = world.settings["DATABASE_URL"].clone();
    let parsed = url::Url::parse(&url).unwrap();
    let host = parsed.host_str().unwrap();
    let port = parsed.port().unwrap_or(5432);
    let there = format!("{host}:{port}");
    let several = |all: &[&str]| url.replace(&there, &all.join(","));
    assert!(url.contains(&there), "{url}");
    let away = format!("127.0.0.1:{}", dead_port());

    world.set("DATABASE_URL", several(&[&away, &there]));
    let lines = world.examined().await;
    assert!(failed(&lines).is_empty(), "{lines:#?}");
    let of_servers: Vec<&str> = lines
        .iter()
        .filter(|line| line.check == "servers")
        .map(|line| &*line.found)
        .collect();
    assert!(
        of_servers[0].starts_with("host 1 of 2 is not reached: "),
        "{of_servers:?}"
    );
    assert_eq!(of_servers[1], "1 takes changes, 0 only read");

    world.set("DATABASE_URL", several(&[&there, &there]));
    let (said, _) = told(&world, "database").await;
    assert_eq!(said, "2 of the 2 hosts take changes");

    world.set("DATABASE_URL", several(&[&away, &away]));
    let lines = world.examined().await;
    assert!(
        failed(&lines)
            .iter()
            .any(|line| line.found == "none of the 2 hosts takes changes"),
        "{lines:#?}"
    );
    world.sandbox.stop().await;
}
