//! Plain HTTP to health endpoints and registries.

use std::time::Duration;

use crate::error::{During, Error, Result};
use crate::process::Process;
use crate::wait;

/// A client, whichever features of reqwest a build has: with TLS it needs a provider of cryptography, even
/// for plain HTTP.
pub fn client() -> reqwest::Client {
    // Whoever was first decides.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// GET of a plain HTTP URL: its status code.
pub fn status(url: &str) -> Result<u16> {
    get(url).map(|(code, _)| code)
}

/// GET of a plain HTTP URL: its status code and body, within 10 s.
pub fn get(url: &str) -> Result<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .during(|| "starting a runtime for an HTTP request")?;
    runtime.block_on(async {
        let answer = client().get(url).timeout(Duration::from_secs(10)).send().await;
        let answer = answer.during(|| format!("GET {url}"))?;
        let code = answer.status().as_u16();
        Ok((code, answer.text().await.during(|| format!("GET {url}"))?))
    })
}

/// Waits until a program answers a GET with a status code that `wanted` holds for; fails at once if it ends.
pub fn wait_answer(
    process: &Process,
    url: &str,
    timeout: Duration,
    wanted: impl Fn(u16) -> bool,
) -> Result<()> {
    wait::until(format!("{} to answer {url}", process.name()), timeout, || {
        match process.check("its readiness was awaited") {
            // It will never answer: the inner error ends the waiting.
            Err(ended) => Ok(Err(ended)),
            Ok(()) => match status(url)? {
                code if wanted(code) => Ok(Ok(())),
                code => Err(Error::Other(format!("the answer {code}"))),
            },
        }
    })?
}
