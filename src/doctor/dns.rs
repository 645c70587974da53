//! A resolver that asks one question: the texts of a name (TXT records, RFC 1035). The operating system's resolver cannot be asked for
//! them, and the crates that can are larger than everything that doctor does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Where the machine's own servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Time for one server to answer one question.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lost datagram is asked for again once.
const TRIES: usize = 2;

/// More are not asked: the system's resolver does not either.
const MAX_SERVERS: usize = 3;

const TXT: u16 = 16;
const INTERNET: u16 = 1;
const HEADER: usize = 12;

/// What the DNS says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// Its texts; none if it has none.
    Texts(Vec<String>),
    /// Neither the name nor anything below it exists.
    NoSuchName,
}

impl DnsAnswer {
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Texts(texts) => texts,
            Self::NoSuchName => &[],
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    #[error("this machine names no DNS server")]
    NoServer,
    #[error("no DNS server answers")]
    NoAnswer,
    #[error("the DNS server cannot tell (code {0})")]
    Refused(u8),
    #[error("the DNS server's answer cannot be read")]
    Unreadable,
    #[error("no DNS name")]
    NoName,
}

pub struct Resolver {
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Asks this server, or those that the machine is set up with.
    pub fn new(server: Option<SocketAddr>) -> Self {
        let servers = match server {
            Some(server) => vec![server],
            None => servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
        };
        Self { servers }
    }

    /// The texts of a name. The first server that knows, in the machine's order.
    pub async fn texts(&self, name: &str) -> Result<DnsAnswer, Silence> {
        let question = question(name).ok_or(Silence::NoName)?;
        let mut silence = Silence::NoServer;
        for &server in &self.servers {
            for _ in 0..TRIES {
                match ask(server, &question).await {
                    Ok(answer) => return Ok(answer),
                    Err(why) => silence = why,
                }
                if silence != Silence::NoAnswer {
                    break;
                }
            }
        }
        Err(silence)
    }
}

/// The servers that a `resolv.conf` names.
fn servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address: IpAddr = words.next().filter(|_| is_server)?.parse().ok()?;
        Some(SocketAddr::new(address, 53))
    });
    named.take(MAX_SERVERS).collect()
}

/// The question as it stands in a message; `None`: this is no name.
fn question(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if !(1..=63).contains(&length) || !label.is_ascii() {
            return None;
        }
        bytes.push(length);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    if bytes.len() > 255 {
        return None;
    }
    bytes.extend(TXT.to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    Some(bytes)
}

async fn ask(server: SocketAddr, question: &[u8]) -> Result<DnsAnswer, Silence> {
    let number: u16 = rand::random();
    // Recursion desired, one question, nothing else.
    let mut message = Vec::with_capacity(HEADER + question.len());
    message.extend(number.to_be_bytes());
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(question);
    let short = timeout(PATIENCE, by_datagram(server, &message)).await;
    let short = short.ok().and_then(Result::ok).ok_or(Silence::NoAnswer)?;
    if !is_cut_off(&short) {
        return read(&short, &message);
    }
    let whole = timeout(PATIENCE, by_stream(server, &message)).await;
    let whole = whole.ok().and_then(Result::ok).ok_or(Silence::NoAnswer)?;
    read(&whole, &message)
}

async fn by_datagram(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        // What answers something else is an older answer, or somebody's guess.
        if answer[..length].starts_with(&message[..2]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], message].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Whether the answer says that it did not fit into a datagram.
fn is_cut_off(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0b10 != 0)
}

/// What an answer to `asked` says.
fn read(answer: &[u8], asked: &[u8]) -> Result<DnsAnswer, Silence> {
    let is_answer = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let repeats = |at: std::ops::Range<usize>| {
        let (theirs, ours) = (answer.get(at.clone()), asked.get(at));
        theirs.is_some_and(|theirs| ours.is_some_and(|ours| theirs.eq_ignore_ascii_case(ours)))
    };
    if !is_answer || !repeats(0..2) {
        return Err(Silence::Unreadable);
    }
    match answer.get(3).map(|flags| flags & 0x0f) {
        Some(0) => {}
        Some(3) => return Ok(DnsAnswer::NoSuchName),
        Some(code) => return Err(Silence::Refused(code)),
        None => return Err(Silence::Unreadable),
    }
    if !repeats(4..6) || !repeats(HEADER..asked.len()) {
        return Err(Silence::Unreadable);
    }
    let records = answer.get(6..8).ok_or(Silence::Unreadable)?;
    let records = u16::from_be_bytes([records[0], records[1]]);
    let rest = answer.get(asked.len()..).ok_or(Silence::Unreadable)?;
    texts(rest, records)
        .map(DnsAnswer::Texts)
        .ok_or(Silence::Unreadable)
}

/// The texts among so many records. Whose they are is not asked: the resolver has followed the aliases on the way to them.
fn texts(mut rest: &[u8], records: u16) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..records {
        rest = after_name(rest)?;
        let (kind, class) = (rest.get(0..2)?, rest.get(2..4)?);
        let length = rest.get(8..10)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let data = rest.get(10..10 + length)?;
        if kind == TXT.to_be_bytes() && class == INTERNET.to_be_bytes() {
            found.push(joined(data)?);
        }
        rest = &rest[10 + length..];
    }
    Some(found)
}

/// What comes after a name, which ends with an empty label or with a pointer to the rest of it.
fn after_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        match *rest.first()? {
            0 => return rest.get(1..),
            length if length >= 0b1100_0000 => return rest.get(2..),
            length => rest = rest.get(1 + usize::from(length)..)?,
        }
    }
}

/// A text is sent in pieces of up to 255 bytes.
fn joined(mut data: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        let length = usize::from(length);
        bytes.extend(rest.get(..length)?);
        data = &rest[length..];
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(name: &str) -> Vec<u8> {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(question(name).unwrap());
        message
    }

    /// An answer to `asked` with this code and these records (kind and data), all of the name that was asked for.
    fn answer(asked: &[u8], code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = asked.to_vec();
        message[2] = 0x81;
        message[3] = 0x80 | code;
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 1, 0]);
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn texts_are_joined_and_other_records_passed_over() {
        let asked = asked("brand.test");
        let alias: &[u8] = &[3, b'd', b'n', b's', 0xc0, 12];
        let told = answer(
            &asked,
            0,
            &[(5, alias), (TXT, b"\x06v=spf1\x05 -all"), (TXT, b"\x01x")],
        );
        let texts = vec!["v=spf1 -all".to_owned(), "x".to_owned()];
        assert_eq!(read(&told, &asked), Ok(DnsAnswer::Texts(texts)));
    }

    #[test]
    fn nothing_found_and_nothing_there_are_told_apart_from_no_answer() {
        let asked = asked("brand.test");
        let none = DnsAnswer::Texts(Vec::new());
        assert_eq!(read(&answer(&asked, 0, &[]), &asked), Ok(none));
        let told = read(&answer(&asked, 3, &[]), &asked);
        assert_eq!(told, Ok(DnsAnswer::NoSuchName));
        let told = read(&answer(&asked, 2, &[]), &asked);
        assert_eq!(told, Err(Silence::Refused(2)));
        let other = answer(&super::tests::asked("other.test"), 0, &[]);
        assert_eq!(read(&other, &asked), Err(Silence::Unreadable));
        assert_eq!(read(&asked, &asked), Err(Silence::Unreadable));
    }

    #[test]
    fn a_name_is_asked_for_only_if_it_is_one() {
        assert_eq!(
            question("a.bc"),
            Some(b"\x01a\x02bc\0\0\x10\0\x01".to_vec())
        );
        assert_eq!(question("a.bc."), question("a.bc"));
        for name in [
            "",
            ".",
            "a..b",
            &"a".repeat(64),
            "bücher.test",
            &"a.".repeat(130),
        ] {
            assert_eq!(question(name), None, "{name}");
        }
    }

    #[test]
    fn the_machine_s_servers_are_read_from_its_file() {
        let text = "# nameserver 192.0.2.9\nsearch shop.test\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \nnameserver x\n";
        let found = servers(text);
        let wanted: [SocketAddr; 2] =
            ["192.0.2.1:53", "[2001:db8::1]:53"].map(|server| server.parse().unwrap());
        assert_eq!(found, wanted);
        assert_eq!(servers(&"nameserver 192.0.2.1\n".repeat(9)).len(), 3);
    }

    /// A server that cuts its datagrams off and tells the whole by stream; the question is in both the same.
    async fn server_of_long_texts(text: &'static str) -> SocketAddr {
        let stream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = stream.local_addr().unwrap();
        let datagrams = UdpSocket::bind(address).await.unwrap();
        tokio::spawn(async move {
            let mut asked = vec![0; 512];
            let (length, from) = datagrams.recv_from(&mut asked).await.unwrap();
            let mut told = answer(&asked[..length], 0, &[]);
            told[2] |= 0b10;
            // First somebody's guess, with another number.
            let mut guess = told.clone();
            guess[0] ^= 1;
            datagrams.send_to(&guess, from).await.unwrap();
            datagrams.send_to(&told, from).await.unwrap();
            let (mut socket, _) = stream.accept().await.unwrap();
            let mut asked = vec![0; usize::from(socket.read_u16().await.unwrap())];
            socket.read_exact(&mut asked).await.unwrap();
            let pieces = text.as_bytes().chunks(255);
            let data: Vec<u8> = pieces
                .flat_map(|piece| [&[u8::try_from(piece.len()).unwrap()][..], piece].concat())
                .collect();
            let told = answer(&asked, 0, &[(TXT, &data)]);
            let length = u16::try_from(told.len()).unwrap();
            socket.write_u16(length).await.unwrap();
            socket.write_all(&told).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn what_does_not_fit_into_a_datagram_is_asked_for_by_stream() {
        let long = "long text, ".repeat(100);
        let server = server_of_long_texts(long.clone().leak()).await;
        let told = Resolver::new(Some(server)).texts("brand.test").await;
        assert_eq!(told, Ok(DnsAnswer::Texts(vec![long])));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_silence_not_absence() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = socket.local_addr().unwrap();
        drop(socket);
        let told = Resolver::new(Some(nobody)).texts("brand.test").await;
        assert_eq!(told, Err(Silence::NoAnswer));
        let told = Resolver { servers: vec![] }.texts("brand.test").await;
        assert_eq!(told, Err(Silence::NoServer));
    }

    proptest! {
        #[test]
        fn fuzz_dns_answers(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0_usize..200, at in 0_usize..200) {
            let asked = asked("brand.test");
            let _ = read(&bytes, &asked);
            let mut told = answer(&asked, 0, &[(TXT, b"\x06v=spf1"), (5, b"\xc0\x0c"), (TXT, &bytes)]);
            if let Some(byte) = told.get_mut(at) {
                *byte ^= bytes.first().copied().unwrap_or(0xff);
            }
            told.truncate(cut.max(1));
            let _ = read(&told, &asked);
        }
    }
}
