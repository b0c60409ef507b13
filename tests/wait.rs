//! Waiting for a condition, with a deadline: no test sleeps for luck.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Asks `check` every 20 ms until it gives something. An error that it ends with is part of the message.
///
/// # Errors
/// `what` (a sentence: "the Service has an address") did not become true within `limit`.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = check();
        if let Ok(Some(value)) = answer {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            match answer {
                Err(error) => bail!("within {limit:?} it did not come true that {what}: {error:#}"),
                Ok(_) => bail!("within {limit:?} it did not come true that {what}"),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same for a condition.
///
/// # Errors
/// As [`wait_until`].
pub fn wait_for(what: &str, limit: Duration, mut check: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    wait_until(what, limit, || Ok(check()?.then_some(())))
}
