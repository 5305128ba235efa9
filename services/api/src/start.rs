//! The interface as a program of its own.

use crate::{Deps, run};
use anyhow::Context as _;
use assembly::Assembly;
use tokio::net::TcpListener;

/// Serves until the context's stop.
///
/// # Errors
/// When the parts cannot be built, or the listener fails.
pub async fn start(context: service::Context) -> anyhow::Result<()> {
    let assembly = Assembly::of(&context).await?;
    let listener = bind(&context).await?;
    let announcing = tokio::spawn({
        let (assembly, stop) = (assembly.clone(), context.stop.clone());
        async move { assembly.announce(stop).await }
    });
    run(Deps::of(assembly), listener, context.stop).await?;
    announcing.await.context("announcing new mail")
}

/// Binds the configured address.
///
/// # Errors
/// When somebody else has it.
pub async fn bind(context: &service::Context) -> anyhow::Result<TcpListener> {
    let listen = context.config.api.listen;
    TcpListener::bind(listen)
        .await
        .with_context(|| format!("POSTROAD_API__LISTEN: cannot listen on {listen}"))
}

impl Deps {
    /// The interface's share of what every service is built of.
    #[must_use]
    pub fn of(assembly: Assembly) -> Self {
        Self {
            config: assembly.config,
            pool: assembly.pool,
            intake: assembly.intake,
            resolver: assembly.resolver,
            secrets: assembly.secrets,
            limiter: assembly.limiter,
            readiness: assembly.readiness,
        }
    }
}
