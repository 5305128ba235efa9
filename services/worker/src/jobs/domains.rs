//! Domains whose records are due for another look.

use assembly::Assembly;
use store::domains::{self, Occasion};

/// Domains of one pass; the rest waits for the next.
const PASS: i64 = 20;

/// Checks the domains that are due. A record whose look-up gets no answer keeps its former result.
pub(super) async fn check_due(deps: &Assembly) -> anyhow::Result<()> {
    let hostname = &deps.config.smtp.hostname;
    for domain in domains::due_for_check(&deps.pool, PASS).await? {
        let checks = ::domains::check(
            &deps.pool,
            &*deps.resolver,
            hostname,
            &domain,
            Occasion::Scheduled,
            deps.config.domains.check_interval,
        )
        .await?;
        let after = match domains::save_check(&deps.pool, domain.organization, domain.id, &checks).await {
            // Another organization proved the name first: this claim stays as it is, and its owner sees why when asking.
            Err(store::Error::Conflict(_) | store::Error::NotFound) => continue,
            saved => saved?,
        };
        if after.status != domain.status {
            tracing::info!(domain = %domain.id, from = %domain.status, to = %after.status, "a domain's status changed");
        }
    }
    Ok(())
}
