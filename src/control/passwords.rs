//! Passwords: how good they must be, and their hashes (argon2id).
//!
//! Hashing takes 19 MiB and some tens of milliseconds on purpose. It runs beside the async threads, two at a time, and who would
//! wait long is turned away: a flood of logins must not be able to take the machine.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::{ControlError, Fault, guessable};
use crate::secret::Secret;

pub const SHORTEST: usize = 12;
const LONGEST: usize = 200;

/// Hashes at work at once.
static SLOTS: Semaphore = Semaphore::const_new(2);

/// The longest to wait for one's turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// OWASP's recommendation: 19 MiB, two passes.
fn argon2() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The hash of nobody's password: checked where there is no such person, so that names cannot be told by the time it takes.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hash_now("no one's password").ok());

fn hash_now(password: &str) -> anyhow::Result<String> {
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).map_err(|e| anyhow::anyhow!("a salt: {e}"))?;
    let hash = argon2().hash_password(password.as_bytes(), &salt);
    Ok(hash
        .map_err(|e| anyhow::anyhow!("hashing a password: {e}"))?
        .to_string())
}

/// A new password, and the words of this installation that whoever guesses it begins with: the names of its brands.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    pub password: &'a Secret,
    pub own_words: &'a [String],
}

impl<'a> From<&'a Secret> for Chosen<'a> {
    fn from(password: &'a Secret) -> Self {
        Self {
            password,
            own_words: &[],
        }
    }
}

/// The hash of a new password, if it will do for this person.
pub async fn accept(chosen: Chosen<'_>, name: &str) -> Result<String, ControlError> {
    let (password, name) = (chosen.password.clone(), name.to_owned());
    let own_words = chosen.own_words.to_vec();
    // An estimate takes a while, too.
    slowly(move || {
        check(password.expose(), &name, &own_words)
            .map_err(|fault| ControlError::Invalid(vec![fault]))?;
        Ok(hash_now(password.expose())?)
    })
    .await?
}

/// Whether a new password will do for this person.
fn check(password: &str, name: &str, own_words: &[String]) -> Result<(), Fault> {
    let fault = |detail: String| {
        Err(Fault {
            field: "/password".to_owned(),
            detail,
        })
    };
    let letters = password.chars().count();
    if letters < SHORTEST {
        return fault(format!(
            "is too short: use at least {SHORTEST} characters, for example four words"
        ));
    }
    if password.len() > LONGEST {
        return fault(format!("is too long: use at most {LONGEST} characters"));
    }
    if guessable::is_guessable(password, name, own_words) {
        return fault(
            "is too easy to guess: use one that you use nowhere else, for example four unrelated words"
                .to_owned(),
        );
    }
    Ok(())
}

/// Runs one hashing beside the async threads.
async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    let busy =
        || ControlError::Unavailable("too many logins at once; try again in a moment".to_owned());
    let turn = tokio::time::timeout(PATIENCE, SLOTS.acquire()).await;
    let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.context("hashing a password")?)
}

/// Whether this is the password of the hash. Without a hash the answer is no, and takes as long.
pub async fn verify(password: &Secret, hash: Option<String>) -> Result<bool, ControlError> {
    if password.expose().len() > LONGEST {
        return Ok(false);
    }
    let password = password.clone();
    slowly(move || {
        let known = hash.is_some();
        let hash = hash.or_else(|| NOBODY.clone()).unwrap_or_default();
        let fits = PasswordHash::new(&hash).is_ok_and(|hash| {
            argon2()
                .verify_password(password.expose().as_bytes(), &hash)
                .is_ok()
        });
        fits && known
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_and_long_ones_taken() {
        for weak in [
            "",
            "short",
            "aaaaaaaaaaaaaa",
            "PasswordPassword",
            "ann@example.net",
        ] {
            assert!(check(weak, "ann@example.net", &[]).is_err(), "{weak}");
        }
        assert!(check(&"x1".repeat(101), "ann", &[]).is_err());
        for good in ["correct horse battery", "ÄÖÜäöüßéèêñç"] {
            assert_eq!(check(good, "ann", &[]), Ok(()), "{good}");
        }
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let secret = Secret::new("correct horse battery");
        let own = accept((&secret).into(), "ann").await.unwrap();
        assert!(own.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{own}");
        assert!(verify(&secret, Some(own.clone())).await.unwrap());
        assert!(
            !verify(&Secret::new("correct horse"), Some(own))
                .await
                .unwrap()
        );
        assert!(!verify(&secret, None).await.unwrap());
        assert!(
            !verify(&Secret::new("no one's password"), None)
                .await
                .unwrap()
        );
        assert!(!verify(&secret, Some("broken".to_owned())).await.unwrap());
    }
}
