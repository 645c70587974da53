//! The code that shows that an address is the caller's own: the text that brings it, and its entering.

use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{account, fault, recipient, record};
use crate::channel::clean;
use crate::channel::render::Rendered;
use crate::control::ControlError;
use crate::control::accounts::Allowed;
use crate::control::consumers::met;
use crate::control::rules::ChangeAuthor;
use crate::db;
use crate::db::test_messages::Between;
use crate::domain::channel::Parts;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::test_message::{self, CODE_LASTS, TRIES};
use crate::jobs::context::Context;

/// An address whose code somebody enters.
#[derive(Clone, Debug)]
pub struct EnteredCode<'a> {
    pub account: &'a Allowed<AccountId>,
    pub channel: Channel,
    pub to: &'a str,
    pub code: &'a str,
}

/// Takes the code of a test message: from then on the caller's tests to this address bring the words of the rule.
pub async fn verify(
    ctx: &Context,
    entered: &EnteredCode<'_>,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let account = account(ctx, entered.account)?;
    let to = recipient(account, entered.channel, entered.to)?;
    met(&ctx.pool, &ctx.clock, &ctx.hasher, &to).await?;
    let hash = ctx.hasher.address(&to);
    let between = Between {
        person: by.name,
        account: entered.account,
        channel: entered.channel,
        recipient: &hash,
    };
    let code = test_message::entered(entered.code)
        .ok_or_else(|| fault("/code", "must be the six digits of the test message"))?;
    let tried = db::test_messages::try_code(&ctx.pool, between, TRIES, by.now).await?;
    let Some((right, used)) = tried else {
        return Err(ControlError::Conflict(format!(
            "There is no valid code for this address: a code lasts {} minutes and {TRIES} attempts. Send yourself another test message.",
            CODE_LASTS.num_minutes()
        )));
    };
    let given = ctx.hasher.code(by.name, &hash, &code);
    if !bool::from(right.as_slice().ct_eq(&given)) {
        let detail = match TRIES - used {
            0 => "is not the latest code; send yourself another".to_owned(),
            1 => "is not the latest code; 1 attempt left".to_owned(),
            left => format!("is not the latest code; {left} attempts left"),
        };
        return Err(fault("/code", detail));
    }
    let mut tx = ctx.pool.begin().await?;
    db::test_messages::verify(&mut tx, between, by.now).await?;
    record(
        &mut tx,
        "test.verify",
        between,
        json!({ "to": to.traits() }),
        by,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// The same for everybody: nothing in it is the sender's own.
pub(super) fn code_text(channel: Channel, brand: &str, code: &str) -> Rendered {
    let brand = clean::line(brand, clean::MAX_NAME);
    let minutes = CODE_LASTS.num_minutes();
    let text = format!(
        "{code} is your code for test messages from {brand}. It is valid for {minutes} minutes. If you did not ask for it, please ignore \
         this message."
    );
    Rendered {
        preheader: None,
        subject: (channel.profile().parts == Parts::SubjectAndHtml)
            .then(|| "Your code for test messages".to_owned()),
        text,
        html: None,
    }
}
