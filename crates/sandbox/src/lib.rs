//! The sandbox plays LivePerson, Twilio and a mail server over real sockets, with scripted people in it.
//!
//! It imports nothing of the service, not even its wire types: a field that is wrong on both sides would otherwise pass every
//! test. The service cannot tell it from the real thing; only base URLs differ.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use futures_util::FutureExt as _;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub mod admin;
pub mod clock;
pub mod door;
pub mod faults;
mod http;
pub mod liveperson;
pub mod mailbox;
pub mod oauth;
pub mod outbox;
pub mod people;
#[cfg(feature = "test-channel")]
pub mod probe;
pub mod rules;
pub mod shop;
pub mod smtp;
pub mod twilio;
pub mod world;

use clock::WorldClock;
use faults::Faults;
use mailbox::Mailbox;
use outbox::{Outbox, OutboxOptions};
use people::{Expected, PhoneText, Play};
use smtp::{SmtpOptions, SmtpServer};
use twilio::{TwilioOptions, TwilioServer};
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
    pub smtp_port: u16,
    pub twilio_port: u16,
    /// The page that shows what people received.
    pub mailbox_port: u16,
    pub smtp: SmtpOptions,
    pub twilio: TwilioOptions,
    pub outbox: OutboxOptions,
    pub clock: WorldClock,
    pub script: Script,
    /// Where the service is, as browsers reach it: with it, a shop that shows its badge is at `/shop` beside the mailbox.
    pub shop_of: Option<String>,
    /// The same seed gives the same ids, newcomers and chance faults.
    pub seed: u64,
}

impl Default for Options {
    /// An empty world on loopback, any port, in real time.
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            liveperson_port: 0,
            smtp_port: 0,
            twilio_port: 0,
            mailbox_port: 0,
            smtp: SmtpOptions::default(),
            twilio: TwilioOptions::default(),
            outbox: OutboxOptions::default(),
            clock: WorldClock::real(),
            script: Script::Empty,
            shop_of: None,
            seed: 1,
        }
    }
}

/// Where the sandbox is and what lets a client in. The secrets protect nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoints {
    pub account: String,
    pub liveperson: LivePersonEndpoint,
    pub smtp: SmtpEndpoint,
    pub twilio: TwilioEndpoint,
    /// The sandbox's own API ([`admin`]).
    pub admin_url: String,
    /// The mailbox as a page, and its API ([`mailbox`]).
    pub mailbox_url: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct LivePersonEndpoint {
    /// In place of `https://api.liveperson.net`. The hosts that it names are reached by plain http.
    pub domain_url: String,
    pub credentials: Credentials,
}

#[derive(Clone, Debug, Serialize)]
pub struct SmtpEndpoint {
    pub host: String,
    pub port: u16,
    /// None when mail is taken from anybody.
    pub user: Option<String>,
    pub password: Option<String>,
    /// Signs what is posted to the service's `/mail/events`.
    pub events_secret: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct TwilioEndpoint {
    /// In place of `https://api.twilio.com`.
    pub base_url: String,
    pub account_sid: String,
    pub auth_token: String,
}

impl SmtpEndpoint {
    fn of(address: SocketAddr, options: &SmtpOptions) -> Self {
        let (user, password) = options.credentials.clone().unzip();
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            user,
            password,
            events_secret: options.events_secret.clone(),
        }
    }
}

impl TwilioEndpoint {
    fn of(address: SocketAddr, options: &TwilioOptions) -> Self {
        Self {
            base_url: format!("http://{address}"),
            account_sid: options.account_sid.clone(),
            auth_token: options.auth_token.clone(),
        }
    }
}

/// A running sandbox; it stops when dropped.
pub struct Sandbox {
    world: World,
    faults: Faults,
    play: Play,
    outbox: Outbox,
    smtp: SmtpServer,
    twilio: TwilioServer,
    #[cfg(feature = "test-channel")]
    probe: probe::Probe,
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

        let outbox = Outbox::new(options.outbox.clone());
        let (smtp, twilio) = start_channels(&options, &outbox).await?;
        let (listener, mailbox) = bind(options.bind, options.mailbox_port, "mailbox").await?;
        #[cfg(feature = "test-channel")]
        let probe = {
            let (listener, address) = bind(options.bind, 0, "test channel").await?;
            let probe = probe::Probe::new(address);
            tasks.push(serve(listener, probe.router(), stop.clone()));
            probe
        };
        let page = mailbox::router(Mailbox {
            outbox: outbox.clone(),
            smtp: Some(smtp.faults().clone()),
            twilio: Some(twilio.account().clone()),
        });
        let page = match &options.shop_of {
            Some(service) => page.merge(shop::router(world.clone(), ACCOUNT, service)),
            None => page,
        };
        tasks.push(serve(listener, page, stop.clone()));
        let texting = carry_texts(phone_texts, twilio.account().clone(), outbox.clone());
        tasks.push(tokio::spawn(
            stop.clone().run_until_cancelled_owned(texting).map(drop),
        ));

        if options.script != Script::Empty {
            let now = options.clock.now();
            for bounce in people::bounces() {
                smtp.bounces().add(bounce);
            }
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
            mailbox_url: format!("http://{mailbox}"),
            liveperson: LivePersonEndpoint {
                domain_url,
                credentials: world.credentials(ACCOUNT)?,
            },
            smtp: SmtpEndpoint::of(smtp.address(), &options.smtp),
            twilio: TwilioEndpoint::of(twilio.address(), &options.twilio),
        };
        Ok(Self {
            world,
            faults,
            play,
            outbox,
            smtp,
            twilio,
            #[cfg(feature = "test-channel")]
            probe,
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

    /// What people really received.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub fn smtp(&self) -> &SmtpServer {
        &self.smtp
    }

    /// Texts from people reach the service once its webhook is known:
    /// `sandbox.twilio().account().set_inbound_url(…)`.
    pub fn twilio(&self) -> &TwilioServer {
        &self.twilio
    }

    /// The endpoint of the service's test channel.
    #[cfg(feature = "test-channel")]
    pub fn probe(&self) -> &probe::Probe {
        &self.probe
    }

    /// Stops listening; requests in progress have a second to finish.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.smtp.stop();
        self.twilio.stop();
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

async fn start_channels(
    options: &Options,
    outbox: &Outbox,
) -> anyhow::Result<(SmtpServer, TwilioServer)> {
    let Options {
        bind: ip, clock, ..
    } = options;
    let (listener, _) = bind(*ip, options.smtp_port, "mail server").await?;
    let smtp = smtp::serve(
        listener,
        options.smtp.clone(),
        outbox.clone(),
        clock.clone(),
    )
    .context("starting the sandbox's mail server")?;
    let (listener, _) = bind(*ip, options.twilio_port, "Twilio").await?;
    let twilio = twilio::serve(
        listener,
        options.twilio.clone(),
        outbox.clone(),
        clock.clone(),
    )
    .context("starting the sandbox's Twilio")?;
    Ok((smtp, twilio))
}

/// Hands what people text to Twilio, addressed to the number that last wrote to them.
async fn carry_texts(
    mut texts: mpsc::UnboundedReceiver<PhoneText>,
    account: twilio::TwilioAccount,
    outbox: Outbox,
) {
    while let Some(PhoneText { from, body }) = texts.recv().await {
        // People write their number as they like; the network does not.
        let from: String = from
            .chars()
            .filter(|c| *c == '+' || c.is_ascii_digit())
            .collect();
        let last = outbox
            .texts_to(&from)
            .last()
            .and_then(|text| text.from.clone());
        let to = last.unwrap_or_else(|| account.number());
        if let Err(error) = account.inbound(&from, &to, &body, None).await {
            tracing::warn!(%error, "a text from a person of the sandbox did not arrive");
        }
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
