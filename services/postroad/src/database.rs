//! The database of a command: the one of `DATABASE_URL`, or the embedded one, whether `postroad up` has it running or not.

use crate::{
    data_directory::{DataDirectory, Hold},
    embedded::{Cluster, Server},
};
use anyhow::{Context, bail};
use auth::secrets::Secrets;
use config::{Config, ExposeSecret};
use std::time::{Duration, Instant};
use store::{PgPool, schema};

/// How long a command waits for a `postroad up` that is just starting.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whose server it is.
#[derive(Debug)]
enum Own {
    /// `DATABASE_URL`'s, or a running `postroad up`'s.
    No,
    /// Started for this command, to be stopped after it.
    Yes(Box<(Server, Hold)>),
}

/// A database that answers.
#[derive(Debug)]
pub struct Database {
    /// Connections to it.
    pub pool: PgPool,
    own: Own,
}

impl Database {
    /// Finds the database of these settings, starts the embedded one if need be, and makes sure of the schema: the embedded database is
    /// migrated when this command started it, any other has to be current.
    ///
    /// # Errors
    /// When it cannot be reached or started, or has another schema.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = Self::reach(config).await?;
        if matches!(database.own, Own::Yes(_)) {
            store::migrate(&database.pool).await.context("migrating the embedded database")?;
        }
        match schema::state(&database.pool).await.context("asking the database for its schema")? {
            schema::State::Current => Ok(database),
            schema::State::Behind => bail!("migrations are missing in the database: run `postroad migrate` first"),
            schema::State::Unknown => bail!("the database was migrated by another version of postroad: use that one"),
        }
    }

    /// Like [`Database::open`], without a word about the schema.
    ///
    /// # Errors
    /// When it cannot be reached or started.
    pub async fn reach(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = &config.database.url {
            let pool = connect(config, url.expose_secret())?;
            return Ok(Self { pool, own: Own::No });
        }
        let data = DataDirectory::open(&config.data_dir)?;
        let begin = Instant::now();
        loop {
            if let Some(hold) = data.hold()? {
                let server = Server::start(Cluster::prepare(&data, &hold)?).await?;
                let pool = connect(config, &server.url())?;
                return Ok(Self {
                    pool,
                    own: Own::Yes(Box::new((server, hold))),
                });
            }
            if Cluster::answers(&data) {
                let pool = connect(config, &Cluster::url_of(&data))?;
                // The socket is there before the server takes connections.
                if schema::state(&pool).await.is_ok_and(|state| state == schema::State::Current) {
                    return Ok(Self { pool, own: Own::No });
                }
                pool.close().await;
            }
            if begin.elapsed() > PATIENCE {
                bail!("{} has {} but its database does not answer", data.holder(), data.path().display());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the connections, and the server if this command started it.
    pub async fn close(self) {
        self.pool.close().await;
        if let Own::Yes(own) = self.own {
            let (server, hold) = *own;
            server.stop().await;
            drop(hold);
        }
    }
}

/// A pool for a command: a few connections are enough.
fn connect(config: &Config, url: &str) -> anyhow::Result<PgPool> {
    let options = store::Options {
        max_connections: 4,
        acquire_timeout: config.database.acquire_timeout,
        statement_timeout: config.database.statement_timeout,
    };
    store::connect(url, config.service.name(), options).context("reading the database's URL")
}

/// The keys of the instance: of `POSTROAD_SECRET_KEY`, or of the data directory; checked against what the database has seen.
///
/// # Errors
/// When there is no secret, or it is not this database's.
pub async fn secrets(config: &Config, pool: &PgPool) -> anyhow::Result<Secrets> {
    let secret = match &config.secret_key {
        Some(secret) => secret.clone(),
        // The embedded database and its secret are made together; beside somebody else's database a new secret would be a wrong one.
        None if config.database.url.is_none() => DataDirectory::open(&config.data_dir)?.secret_key()?,
        None => DataDirectory::existing_secret_key(&config.data_dir)?
            .context("POSTROAD_SECRET_KEY is not set, and the data directory has no secret.key: which secret does this instance use?")?,
    };
    let secrets = Secrets::new(&secret);
    auth::secrets::verify_instance(pool, &secrets).await?;
    Ok(secrets)
}
