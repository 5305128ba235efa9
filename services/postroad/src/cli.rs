//! The command line: what can be typed, and nothing of what it does.

use clap::{Args, Parser, Subcommand};
use store::{ids::MessageId, operator::Selection};

/// A self-hosted mail relay.
#[derive(Debug, Parser)]
#[command(name = "postroad", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything `postroad` can do. Commands use the database of `DATABASE_URL`; without it, the embedded one of `POSTROAD_DATA_DIR`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run SMTP, API and delivery in one process, on an embedded PostgreSQL unless `DATABASE_URL` is set.
    Up {
        /// Read the settings, name every mistake, and exit.
        #[arg(long)]
        check_config: bool,
    },
    /// Apply the database migrations that are missing.
    Migrate,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Manage administrators.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Manage API keys.
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Look at the deliveries that are not finished, and move them.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Exit with status 0 when the URL answers 200 within five seconds.
    Healthcheck {
        /// For instance `http://127.0.0.1:9102/readyz`.
        url: String,
    },
}

/// `postroad config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read all settings, name every mistake, print what takes effect.
    Check {
        /// The program the settings are for.
        #[arg(long, value_enum, default_value = "up")]
        service: ServiceName,
    },
}

/// The programs that settings can be checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ServiceName {
    /// `postroad up`.
    Up,
    /// `postroad-smtp`.
    Smtp,
    /// `postroad-api`.
    Api,
    /// `postroad-worker`.
    Worker,
}

/// `postroad admin …`
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an administrator of the instance, with an organization.
    Create {
        /// The address to log in with; `POSTROAD_BOOTSTRAP__ADMIN_EMAIL` when left out.
        #[arg(long)]
        email: Option<String>,
        /// What to call the person.
        #[arg(long, default_value = "Administrator")]
        name: String,
        /// The name of the organization that is made.
        #[arg(long, default_value = crate::bootstrap::ORGANIZATION)]
        organization: String,
    },
}

/// `postroad api-key …`
#[derive(Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Make a key and print it, alone, on stdout.
    Create {
        /// What the key is for.
        #[arg(long)]
        name: String,
        /// Id or name of its organization; the oldest one when left out.
        #[arg(long)]
        org: Option<String>,
        /// What it may do (`messages.send,domains.read`); everything when left out.
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
    },
}

/// `postroad queue …`
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List deliveries that are not finished, those that are due first in front.
    List {
        /// Which ones.
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Try again now. A message that waits for its scheduled time goes only when it is named itself.
    Retry {
        /// Which ones.
        #[command(flatten)]
        which: Chosen,
    },
    /// Keep back until released.
    Hold {
        /// Which ones.
        #[command(flatten)]
        which: Chosen,
    },
    /// Let go what is held.
    Release {
        /// Which ones.
        #[command(flatten)]
        which: Chosen,
    },
}

/// Narrows down deliveries; what is given has to apply all together.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// One message, `msg_…`.
    #[arg(value_name = "MESSAGE", conflicts_with = "message")]
    pub id: Option<MessageId>,
    /// The same by name.
    #[arg(long)]
    pub message: Option<MessageId>,
    /// A recipient domain.
    #[arg(long)]
    pub destination: Option<mail::Domain>,
    /// Id or name of an organization.
    #[arg(long)]
    pub organization: Option<String>,
}

impl Which {
    /// As the store wants it.
    #[must_use]
    pub fn selection(&self, organization: Option<store::ids::OrganizationId>) -> Selection<'_> {
        Selection {
            message: self.message.or(self.id),
            destination: self.destination.as_ref().map(mail::Domain::as_str),
            organization,
        }
    }
}

/// Like [`Which`], and everything only when that is said.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("chosen").required(true).multiple(true).args(["id", "message", "destination", "organization", "all"]))]
pub struct Chosen {
    /// Which ones.
    #[command(flatten)]
    pub which: Which,
    /// Every delivery of the instance.
    #[arg(long, conflicts_with_all = ["id", "message", "destination", "organization"])]
    pub all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn moving_the_whole_queue_has_to_be_said() {
        assert!(Cli::try_parse_from(["postroad", "queue", "hold"]).is_err());
        assert!(Cli::try_parse_from(["postroad", "queue", "hold", "--all"]).is_ok());
        assert!(Cli::try_parse_from(["postroad", "queue", "hold", "--all", "--destination", "a.test"]).is_err());
        assert!(Cli::try_parse_from(["postroad", "queue", "list"]).is_ok());
        let message = MessageId::generate().to_string();
        assert!(Cli::try_parse_from(["postroad", "queue", "hold", &message]).is_ok());
        assert!(Cli::try_parse_from(["postroad", "queue", "hold", "--message", &message]).is_ok());
        assert!(Cli::try_parse_from(["postroad", "queue", "hold", &message, "--message", &message]).is_err());
    }

    #[test]
    fn the_commands_of_the_contract_parse() {
        for line in [
            "postroad up",
            "postroad migrate",
            "postroad config check",
            "postroad admin create --email a@b.test",
            "postroad api-key create --name accept",
            "postroad api-key create --name n --org org_1 --scopes messages.send,domains.read",
            "postroad queue retry --destination rcpt.test",
            "postroad healthcheck http://127.0.0.1:9102/readyz",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
