//! A wire between the service and PostgreSQL that breaks when a test wants it to: at the answer to a commit, which the server has
//! then made and nobody is told, or before a statement. Or holds a statement back until the test lets it go. And a switch between servers.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;

/// Where a wire breaks next, or holds back, once.
#[derive(Clone)]
enum Cut {
    Before(&'static str),
    CommitAfter(&'static str),
    Hold(&'static str, Held),
}

/// A statement that the server does not see before the test lets it go.
#[derive(Clone, Default)]
pub struct Held(Arc<(Notify, Notify)>);

impl Held {
    /// Waits until the service has sent the statement.
    pub async fn reached(&self) {
        self.0.0.notified().await;
    }

    pub fn release(&self) {
        self.0.1.notify_one();
    }

    async fn pass(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

/// For as long as the test's runtime lives.
pub struct Wire {
    port: u16,
    database: String,
    user: String,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Wire {
    /// A wire to the database at this address.
    pub async fn to(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(Mutex::new(None));
        let wire = Self {
            port,
            database: options.get_database().unwrap_or("postgres").to_owned(),
            user: options.get_username().to_owned(),
            cut: cut.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, port) = (options.get_host().to_owned(), options.get_port());
                let folder = options.get_socket().cloned();
                let folder = folder.or_else(|| host.starts_with('/').then(|| host.clone().into()));
                let cut = cut.clone();
                tokio::spawn(async move {
                    if let Some(folder) = folder {
                        let socket = Path::new(&folder).join(format!(".s.PGSQL.{port}"));
                        carry(client, UnixStream::connect(socket).await.unwrap(), cut).await;
                    } else {
                        let server = TcpStream::connect((host, port)).await.unwrap();
                        carry(client, server, cut).await;
                    }
                });
            }
        });
        wire
    }

    /// The database's address at this end.
    pub fn url(&self) -> String {
        let (user, port, database) = (&self.user, self.port, &self.database);
        format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The answer to the next commit of a transaction that has sent this text is lost, and the connection with it. The text of a
    /// statement is sent when a connection uses it for the first time.
    pub fn lose_commit_after(&self, text: &'static str) {
        *self.cut.lock().unwrap() = Some(Cut::CommitAfter(text));
    }

    /// The connection that sends this text next breaks, and the server never sees it.
    pub fn break_before(&self, text: &'static str) {
        *self.cut.lock().unwrap() = Some(Cut::Before(text));
    }

    /// The statement with this text is held back when it is sent next.
    pub fn hold_before(&self, text: &'static str) -> Held {
        let held = Held::default();
        *self.cut.lock().unwrap() = Some(Cut::Hold(text, held.clone()));
        held
    }

    pub fn has_broken(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }
}

/// An address that stays while the server behind it changes, as a proxy or a name has one. For as long as the test's runtime lives.
pub struct Switch {
    port: u16,
    socket: Arc<Mutex<PathBuf>>,
}

impl Switch {
    /// To the server with this folder of a socket.
    pub async fn to(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = Arc::new(Mutex::new(folder));
        let switch = Self {
            port,
            socket: socket.clone(),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let path = socket.lock().unwrap().join(".s.PGSQL.5432");
                tokio::spawn(async move {
                    // Where nobody listens the client is hung up on.
                    if let Ok(server) = UnixStream::connect(path).await {
                        carry(client, server, Arc::default()).await;
                    }
                });
            }
        });
        switch
    }

    /// Who comes from now on gets to the server with this folder.
    pub fn turn_to(&self, folder: PathBuf) {
        *self.socket.lock().unwrap() = folder;
    }

    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

async fn carry<S>(client: TcpStream, server: S, cut: Arc<Mutex<Option<Cut>>>)
where
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let committing = AtomicBool::new(false);
    let asks = async {
        let mut chunk = vec![0; 1 << 16];
        // Since the last commit.
        let mut said = Vec::new();
        loop {
            let read = from_client.read(&mut chunk).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            said.extend_from_slice(&chunk[..read]);
            let wanted = cut.lock().unwrap().clone();
            match wanted {
                Some(Cut::Before(text)) if holds(&said, text) => {
                    *cut.lock().unwrap() = None;
                    return;
                }
                Some(Cut::Hold(text, held)) if holds(&said, text) => {
                    *cut.lock().unwrap() = None;
                    held.pass().await;
                }
                Some(Cut::CommitAfter(text)) if holds(&said, text) => {
                    committing.store(holds(&said, "COMMIT\0"), Ordering::SeqCst);
                }
                _ => {}
            }
            if holds(&said, "COMMIT\0") {
                said.clear();
            }
            if to_server.write_all(&chunk[..read]).await.is_err() {
                return;
            }
        }
    };
    let answers = async {
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = from_server.read(&mut chunk).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            if committing.load(Ordering::SeqCst) {
                assert!(holds(&chunk[..read], "COMMIT\0"), "the commit was made");
                *cut.lock().unwrap() = None;
                return;
            }
            if to_client.write_all(&chunk[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = asks => {}
        () = answers => {}
    }
}
