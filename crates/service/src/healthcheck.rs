//! One HTTP GET, so that an image needs neither curl nor wget.

use anyhow::{Context as _, bail, ensure};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks an `http:` URL; well when it answers 200 within five seconds.
///
/// # Errors
/// With what it answered instead.
pub async fn healthcheck(url: &str) -> anyhow::Result<()> {
    tokio::time::timeout(PATIENCE, ask(url))
        .await
        .with_context(|| format!("{url}: no answer within {PATIENCE:?}"))?
}

async fn ask(url: &str) -> anyhow::Result<()> {
    let parsed = Url::parse(url).with_context(|| format!("{url:?} is not a URL"))?;
    ensure!(parsed.scheme() == "http", "{url}: only http: is asked");
    let host = parsed.host_str().context("the URL names no host")?;
    let port = parsed.port_or_known_default().unwrap_or(80);
    let mut stream = TcpStream::connect((host.trim_start_matches('[').trim_end_matches(']'), port))
        .await
        .with_context(|| format!("{url}: connecting"))?;
    let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = parsed.path();
    let request =
        format!("GET {path}{query} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: postroad-healthcheck\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .with_context(|| format!("{url}: asking"))?;
    let mut answer = Vec::new();
    // Enough for any report; a stranger on that port cannot fill our memory.
    stream
        .take(65_536)
        .read_to_end(&mut answer)
        .await
        .with_context(|| format!("{url}: reading the answer"))?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match code {
        Some("200") => Ok(()),
        Some(code) => bail!(
            "{url}: answered {code}: {}",
            answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim()
        ),
        None => bail!("{url}: did not answer in HTTP"),
    }
}
