//! `unread sandbox`.

use tokio_util::sync::CancellationToken;
use unread::demo;
use unread::sandbox::{Options, Sandbox, Script};
use unread::say;

#[derive(clap::Args)]
pub struct Ports {
    #[arg(long, default_value_t = 0)]
    liveperson_port: u16,
    #[arg(long, default_value_t = 0)]
    smtp_port: u16,
    #[arg(long, default_value_t = 0)]
    twilio_port: u16,
    #[arg(long, default_value_t = 0)]
    mailbox_port: u16,
    /// Empty, for tests that bring their own people
    #[arg(long)]
    empty: bool,
    /// Where inbound SMS are posted: the service's /twilio/inbound
    #[arg(long, value_name = "URL")]
    inbound_url: Option<String>,
}

pub async fn run(wish: Ports, shutdown: CancellationToken) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options {
        liveperson_port: wish.liveperson_port,
        smtp_port: wish.smtp_port,
        twilio_port: wish.twilio_port,
        mailbox_port: wish.mailbox_port,
        smtp: demo::smtp_options(),
        script: if wish.empty {
            Script::Empty
        } else {
            Script::Live
        },
        ..Options::default()
    })
    .await?;
    if let Some(url) = wish.inbound_url {
        sandbox.twilio().account().set_inbound_url(&url);
    }
    say!("{}", serde_json::to_string_pretty(sandbox.endpoints())?);
    shutdown.cancelled().await;
    sandbox.stop().await;
    Ok(())
}
