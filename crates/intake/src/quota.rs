//! The hook by which a plan's limits reach the door. The limits themselves are not here.

use std::{future::Future, pin::Pin, time::Duration};
use store::ids::OrganizationId;

/// The quota is used up until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// When it will be worth trying again.
    pub retry_after: Duration,
}

/// Whether an organization may send so many more messages now.
pub trait Quota: Send + Sync + std::fmt::Debug {
    /// Reserves `recipients` deliveries, or says when to come back.
    fn reserve<'a>(
        &'a self,
        organization: OrganizationId,
        recipients: usize,
    ) -> Pin<Box<dyn Future<Output = Result<(), QuotaExceeded>> + Send + 'a>>;
}

/// No limit: an instance without plans.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoQuota;

impl Quota for NoQuota {
    fn reserve<'a>(&'a self, _: OrganizationId, _: usize) -> Pin<Box<dyn Future<Output = Result<(), QuotaExceeded>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
