//! The listener as a program of its own.

use anyhow::Context as _;
use assembly::Assembly;
use auth::smtp_credentials::SmtpCredentials;
use service::Context;

use crate::{Deps, Listeners, run};

/// Runs the listener until the context's stop.
///
/// # Errors
/// When the parts cannot be built, an address cannot be bound, or [`run`] cannot be set up.
pub async fn start(context: Context) -> anyhow::Result<()> {
    let assembly = Assembly::of(&context).await?;
    let listeners = Listeners::bind(&context.config.smtp)?;
    let announcing = tokio::spawn({
        let (assembly, stop) = (assembly.clone(), context.stop.clone());
        async move { assembly.announce(stop).await }
    });
    run(Deps::of(assembly), listeners, context.stop).await?;
    announcing.await.context("announcing new mail")
}

impl Deps {
    /// The listener's share of what every service is built of.
    #[must_use]
    pub fn of(assembly: Assembly) -> Self {
        Self {
            credentials: SmtpCredentials::new(assembly.pool, assembly.secrets),
            config: assembly.config,
            intake: assembly.intake,
            limiter: assembly.limiter,
        }
    }
}
