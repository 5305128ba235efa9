//! Name look-ups for HTTP calls: our resolver, and only addresses that may be dialled.

use dns::{Guard, Name, Resolver};
use reqwest::dns::{Addrs, Name as HostName, Resolve, Resolving};
use std::{net::SocketAddr, sync::Arc};

/// Answers an HTTP client with permitted addresses alone: what is checked is what is dialled.
pub(super) struct Guarded {
    resolver: Arc<dyn Resolver>,
    guard: Guard,
}

impl Guarded {
    pub(super) fn new(resolver: Arc<dyn Resolver>, guard: Guard) -> Self {
        Self { resolver, guard }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: HostName) -> Resolving {
        let (resolver, guard) = (Arc::clone(&self.resolver), self.guard.clone());
        Box::pin(async move {
            let host = Name::parse(name.as_str())?;
            let found = dns::route::addresses(&*resolver, &host).await?;
            let permitted = guard.permitted(&found);
            if permitted.is_empty() {
                return Err("the host has no address that may be dialled from here".into());
            }
            let addresses: Addrs = Box::new(permitted.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
