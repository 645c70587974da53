//! `unread demo`.

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use unread::config::Config;
use unread::{demo, printed, say};

pub async fn once(
    config: &Config,
    json: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let rows = demo::once(config, shutdown).await?;
    if json {
        say!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        printed::text(&demo::table(&rows));
    }
    let agree = rows.iter().all(|row| row.agree);
    Ok(if agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
