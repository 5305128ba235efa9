//! A resolver that answers from a script, for tests.

use crate::{Answer, BoxFuture, Data, Kind, LookupError, Mx, Name, Resolver};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[derive(Debug, Default)]
struct Script {
    records: HashMap<(String, Kind), Vec<Data>>,
    failing: HashSet<(String, Option<Kind>)>,
    asked: Vec<(String, Kind)>,
}

/// Answers from a script. A name is known when it, or one below it, has any record; others do not exist. Clones share the script.
///
/// Setters take names as the product would write them; a record that cannot be read is a mistake in the test and is left out.
#[derive(Debug, Clone, Default)]
pub struct ScriptedResolver(Arc<Mutex<Script>>);

impl ScriptedResolver {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the MX records of a name; an empty exchange is a null MX.
    pub fn mx(&self, name: &str, records: &[(u16, &str)]) -> &Self {
        let mx = |(preference, exchange): &(u16, &str)| {
            Data::Mx(Mx {
                preference: *preference,
                exchange: normal(exchange),
            })
        };
        self.set(name, Kind::Mx, records.iter().map(mx).collect())
    }

    /// Sets the IPv4 addresses of a name.
    pub fn a(&self, name: &str, addresses: &[&str]) -> &Self {
        self.set(name, Kind::A, parsed(addresses))
    }

    /// Sets the IPv6 addresses of a name.
    pub fn aaaa(&self, name: &str, addresses: &[&str]) -> &Self {
        self.set(name, Kind::Aaaa, parsed(addresses))
    }

    /// Sets the texts of a name.
    pub fn txt(&self, name: &str, texts: &[&str]) -> &Self {
        self.set(name, Kind::Txt, texts.iter().map(|text| Data::Text((*text).to_owned())).collect())
    }

    /// Makes a name an alias of another.
    pub fn cname(&self, name: &str, target: &str) -> &Self {
        self.set(name, Kind::Cname, vec![Data::Name(normal(target))])
    }

    /// Sets the name of an address.
    pub fn ptr(&self, address: IpAddr, name: &str) -> &Self {
        self.set(&crate::name::reverse(address), Kind::Ptr, vec![Data::Name(normal(name))])
    }

    /// Sets the records of a name; none removes them.
    pub fn set(&self, name: &str, kind: Kind, records: Vec<Data>) -> &Self {
        self.script().records.insert((normal(name), kind), records);
        self
    }

    /// Makes every look-up of a name fail temporarily.
    pub fn fail(&self, name: &str) -> &Self {
        self.script().failing.insert((normal(name), None));
        self
    }

    /// Makes one kind of look-up of a name fail temporarily.
    pub fn fail_kind(&self, name: &str, kind: Kind) -> &Self {
        self.script().failing.insert((normal(name), Some(kind)));
        self
    }

    /// Ends the failures of a name.
    pub fn heal(&self, name: &str) -> &Self {
        let name = normal(name);
        self.script().failing.retain(|(failing, _)| *failing != name);
        self
    }

    /// What was asked so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, Kind)> {
        self.script().asked.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, name: &Name, kind: Kind) -> Result<Answer<Data>, LookupError> {
        let mut script = self.script();
        script.asked.push((name.to_string(), kind));
        let mut name = name.to_string();
        for _ in 0..8 {
            if script.failing.contains(&(name.clone(), None)) || script.failing.contains(&(name.clone(), Some(kind))) {
                return Err(LookupError::Temporary("scripted failure".into()));
            }
            if let Some(records) = script.records.get(&(name.clone(), kind)).filter(|records| !records.is_empty()) {
                return Ok(Answer {
                    records: records.clone(),
                    ttl: Duration::from_secs(60),
                });
            }
            match script.records.get(&(name.clone(), Kind::Cname)).and_then(|records| records.first()) {
                Some(Data::Name(target)) if kind != Kind::Cname => name.clone_from(target),
                _ => {
                    let below = format!(".{name}");
                    let known = script
                        .records
                        .iter()
                        .any(|((n, _), records)| !records.is_empty() && (*n == name || n.ends_with(&below)));
                    return Err(LookupError::NotFound { nx: !known });
                }
            }
        }
        Err(LookupError::NotFound { nx: false })
    }
}

impl Resolver for ScriptedResolver {
    fn lookup<'a>(&'a self, name: &'a Name, kind: Kind) -> BoxFuture<'a, Result<Answer<Data>, LookupError>> {
        Box::pin(async move { self.answer(name, kind) })
    }

    fn fresh(&self) -> Arc<dyn Resolver> {
        Arc::new(self.clone())
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn parsed(addresses: &[&str]) -> Vec<Data> {
    addresses.iter().filter_map(|text| text.parse().ok()).map(Data::Address).collect()
}
