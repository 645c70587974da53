//! The sandbox plays LivePerson, Twilio and a mail server over real sockets, with scripted people in it.
//!
//! It imports nothing of the service, not even its wire types: a field that is wrong on both sides would otherwise pass every
//! test. The service cannot tell it from the real thing; only base URLs differ.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub mod admin;
pub mod clock;
pub mod faults;
pub mod liveperson;
pub mod people;
pub mod world;

use clock::WorldClock;
use faults::Faults;
use people::{Expected, PhoneText, Play};
use world::{Credentials, World};

/// The account that the script plays in.
pub const ACCOUNT: &str = "12345678";

/// How long open requests may finish when the sandbox stops.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Nobody, yet.
    Empty,
    /// The people of [`people::cases`].
    Cases,
    /// They, and newcomers for as long as the sandbox runs.
    Live,
}

/// Port 0 is any free port.
#[derive(Clone, Debug)]
pub struct Options {
    pub bind: IpAddr,
    pub liveperson_port: u16,
    pub clock: WorldClock,
    pub script: Script,
    /// The same seed gives the same ids, newcomers and chance faults.
    pub seed: u64,
}

impl Default for Options {
    /// An empty world on loopback, any port, in real time.
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            liveperson_port: 0,
            clock: WorldClock::real(),
            script: Script::Empty,
            seed: 1,
        }
    }
}

/// Where the sandbox is and what lets a client in. The secrets protect nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    pub account: String,
    pub liveperson: LivePersonEndpoint,
    /// The sandbox's own API ([`admin`]).
    pub admin_url: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct LivePersonEndpoint {
    /// In place of `https://api.liveperson.net`. The hosts that it names are reached by plain http.
    pub domain_url: String,
    pub credentials: Credentials,
}

/// A running sandbox; it stops when dropped.
pub struct Sandbox {
    world: World,
    faults: Faults,
    play: Play,
    phone_texts: Option<mpsc::UnboundedReceiver<PhoneText>>,
    endpoints: Endpoints,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Sandbox {
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let world = World::new(options.clock.clone(), options.seed, &[ACCOUNT]);
        let faults = Faults::new(options.seed);
        let (play, phone_texts) = Play::new(&world, ACCOUNT);
        let stop = CancellationToken::new();

        let (listener, liveperson) =
            bind(options.bind, options.liveperson_port, "LivePerson").await?;
        let admin = admin::router(world.clone(), faults.clone(), play.clone(), ACCOUNT);
        let app = liveperson::router(world.clone(), faults.clone()).nest("/_sandbox", admin);
        let mut tasks = vec![serve(listener, app, stop.clone())];

        if options.script != Script::Empty {
            let now = options.clock.now();
            for scene in people::cases(now) {
                play.enter(scene, now.timestamp_millis())?;
            }
            let newcomers = (options.script == Script::Live).then_some(options.seed);
            tasks.push(tokio::spawn(play.clone().run(newcomers, stop.clone())));
        }

        let domain_url = format!("http://{liveperson}");
        let endpoints = Endpoints {
            account: ACCOUNT.into(),
            admin_url: format!("{domain_url}/_sandbox"),
            liveperson: LivePersonEndpoint {
                domain_url,
                credentials: world.credentials(ACCOUNT)?,
            },
        };
        Ok(Self {
            world,
            faults,
            play,
            phone_texts: Some(phone_texts),
            endpoints,
            stop,
            tasks,
        })
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// LivePerson's faults and request counters.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What should become of the scripted people.
    pub fn expected(&self) -> Vec<Expected> {
        self.play.expected()
    }

    /// Lets the people catch up with a clock that was moved by hand.
    pub fn play_until_now(&self) {
        self.play.play_until_now();
    }

    /// What the people text to the brand; can be taken once.
    pub fn take_phone_texts(&mut self) -> Option<mpsc::UnboundedReceiver<PhoneText>> {
        self.phone_texts.take()
    }

    /// Stops listening; requests in progress have a second to finish.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(PATIENCE, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn bind(ip: IpAddr, port: u16, whose: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((ip, port))
        .await
        .with_context(|| format!("binding {ip}:{port} for the sandbox's {whose}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn serve(listener: TcpListener, app: Router, stop: CancellationToken) -> JoinHandle<()> {
    let listener = listener.tap_io(|connection| {
        // Without it small answers can wait for an acknowledgement; failing to set it costs time, not truth.
        let _ = connection.set_nodelay(true);
    });
    tokio::spawn(async move {
        let served = axum::serve(listener, app)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the sandbox's server ended");
        }
    })
}

#[cfg(test)]
mod tests;
