//! What docs/operate.md says about roll-outs, roll-backs and restores, rehearsed by the script that it names.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::database::database;
use crate::harness::skipped;
use crate::process::{text, this_program};

/// As the script's first lines say.
const A_TOOL_IS_MISSING: i32 = 3;

#[tokio::test]
async fn a_roll_out_a_roll_back_and_a_restore_lose_and_double_nothing() {
    let db = database(b"empty", async |_| Ok(())).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rehearse");
    let mut command = Command::new(script);
    command
        .args(["--people", "25", "--pause", "0.05", "--new"])
        .arg(this_program())
        .env("DATABASE_URL", &db.url)
        .stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let told = text(&output.stdout) + &text(&output.stderr);
    if output.status.code() == Some(A_TOOL_IS_MISSING) {
        return skipped(&told);
    }
    assert!(output.status.success(), "{told}");
    assert!(told.contains("reminded after their no"), "{told}");
}
