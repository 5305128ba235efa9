//! `postroad`: all three services in one process on an embedded PostgreSQL, and the operator's command line.
//!
//! The only crate that imports the services. It decides nothing about mail; it finds or makes the database, the secrets and the
//! first account, starts the services and stops them in order.

pub mod bootstrap;
pub mod cli;
pub mod data_directory;
pub mod database;
pub mod embedded;

mod commands;
mod services;
mod up;

pub use commands::organization;

use cli::{Cli, Command, ConfigCommand, ServiceName};
use config::{Config, Service};

/// Does what was typed.
///
/// # Errors
/// With a text for the person who typed it.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = || Config::load(Service::Cli);
    match cli.command {
        Command::Up { check_config } => {
            let config = Config::load(Service::Up)?;
            if check_config {
                commands::say(&format!("{}postroad: the configuration is valid\n", config.effective()));
                return Ok(());
            }
            up::up(config).await
        }
        Command::Config(ConfigCommand::Check { service }) => {
            let config = Config::load(match service {
                ServiceName::Up => Service::Up,
                ServiceName::Smtp => Service::Smtp,
                ServiceName::Api => Service::Api,
                ServiceName::Worker => Service::Worker,
            })?;
            commands::say(&config.effective());
            Ok(())
        }
        Command::Migrate => commands::migrate(&settings()?).await,
        Command::Admin(command) => commands::admin(&settings()?, command).await,
        Command::ApiKey(command) => commands::api_key(&settings()?, command).await,
        Command::Queue(command) => commands::queue(&settings()?, command).await,
        Command::Healthcheck { url } => service::healthcheck(&url).await,
    }
}
