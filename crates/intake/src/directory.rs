//! Look-ups that nearly every message needs, remembered for a moment.
//!
//! A verified domain is remembered for a few seconds, one that is not verified never is: the customer who has just verified must
//! not wait. Lanes are never deleted, so they are remembered as long as there is room.

use crate::Refusal;
use moka::future::Cache;
use std::time::Duration;
use store::{
    PgPool,
    ids::{DomainId, OrganizationId},
    lanes::{self, LaneKey},
    sending,
};

#[derive(Debug)]
pub(crate) struct Directory {
    pool: PgPool,
    verified: Cache<(OrganizationId, String), DomainId>,
    hosted: Cache<String, ()>,
    lanes: Cache<LaneKey, i64>,
}

impl Directory {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            verified: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(5)).build(),
            hosted: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(5)).build(),
            lanes: Cache::builder().max_capacity(100_000).build(),
        }
    }

    /// The organization's verified domain of that name.
    pub(crate) async fn verified(&self, organization: OrganizationId, name: &str) -> Result<Option<DomainId>, Refusal> {
        let key = (organization, name.to_owned());
        if let Some(found) = self.verified.get(&key).await {
            return Ok(Some(found));
        }
        let found = sending::verified(&self.pool, organization, name).await?;
        if let Some(domain) = found {
            self.verified.insert(key, domain).await;
        }
        Ok(found)
    }

    /// Whether some organization has verified this name, or it is the return-path name below such a domain.
    pub(crate) async fn is_hosted(&self, name: &str) -> Result<bool, Refusal> {
        if self.hosted.get(name).await.is_some() {
            return Ok(true);
        }
        let hosted = sending::is_hosted(&self.pool, name).await?;
        if hosted {
            self.hosted.insert(name.to_owned(), ()).await;
        }
        Ok(hosted)
    }

    /// The numbers of these lanes, in order.
    pub(crate) async fn lanes(&self, keys: Vec<LaneKey>) -> Result<Vec<i64>, Refusal> {
        let mut found = Vec::with_capacity(keys.len());
        for key in &keys {
            match self.lanes.get(key).await {
                Some(lane) => found.push(lane),
                None => return self.resolve(keys).await,
            }
        }
        Ok(found)
    }

    async fn resolve(&self, keys: Vec<LaneKey>) -> Result<Vec<i64>, Refusal> {
        let found = lanes::resolve(&self.pool, &keys).await?;
        if found.len() != keys.len() {
            return Err(Refusal::Unavailable); // a lane's organization is being deleted under us
        }
        for (key, lane) in keys.into_iter().zip(&found) {
            self.lanes.insert(key, *lane).await;
        }
        Ok(found)
    }
}
