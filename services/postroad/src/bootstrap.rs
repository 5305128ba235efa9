//! The first start: an organization, its administrator, something to log in with by SMTP and by HTTP, and the page that says what to do
//! next. Shown once.

use anyhow::Context;
use auth::{accounts, api_keys, passwords::Passwords, scopes::Scopes, secrets::Secrets, smtp_credentials};
use config::{Config, ExposeSecret, Mode, SecretString};
use rand::RngExt;
use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};
use store::{PgPool, smtp_credentials::SmtpCredentialType};

/// The name of the organization that a first start makes.
pub const ORGANIZATION: &str = "Main";
/// The administrator's address when none is configured.
const EMAIL: &str = "admin@postroad.localhost";
/// Remembers in the database that the page was shown.
const SHOWN: &str = "first_start_shown";

/// What the first start made. Every secret in it is seen here and never again.
#[derive(Debug)]
pub struct FirstStart {
    email: String,
    /// Only when it was made here; a configured one is not repeated.
    password: Option<SecretString>,
    username: String,
    smtp_password: SecretString,
    key: SecretString,
}

/// Makes what a new instance needs; `None` when the page was shown already. A start that was interrupted before is made good by new secrets.
///
/// # Errors
/// When the configured administrator is refused, or the database fails.
pub async fn first_start(config: &Config, pool: &PgPool, secrets: &Secrets) -> anyhow::Result<Option<FirstStart>> {
    if store::settings::get(pool, SHOWN).await?.is_some() {
        return Ok(None);
    }
    let email = config.bootstrap.admin_email.clone().unwrap_or_else(|| EMAIL.to_owned());
    let mut made = None;
    if !store::users::exist(pool).await? {
        let given = config.bootstrap.admin_password.clone();
        let password = given.clone().unwrap_or_else(password);
        create_administrator(pool, &email, &password, "Administrator", ORGANIZATION).await?;
        made = given.is_none().then_some(password);
    }
    let organization = crate::organization(pool, None).await?;
    let mut transaction = pool.begin().await?;
    let wanted = smtp_credentials::Wanted {
        name: "first-start".to_owned(),
        kind: SmtpCredentialType::Password,
        networks: Vec::new(),
        allowed_from: Vec::new(),
        stream: "transactional".to_owned(),
    };
    let (credential, smtp_password) = smtp_credentials::create(&mut transaction, secrets, organization, &wanted).await?;
    let wanted = api_keys::Wanted {
        name: "first start".to_owned(),
        scopes: Scopes::parse(&["admin"])?,
        ..api_keys::Wanted::default()
    };
    let (_, key) = api_keys::create(&mut transaction, secrets, organization, &wanted).await?;
    transaction.commit().await?;
    Ok(Some(FirstStart {
        email,
        password: made,
        username: credential.username,
        smtp_password: smtp_password.context("a password credential has a password")?,
        key,
    }))
}

/// Makes an administrator of the instance with an organization.
///
/// # Errors
/// When address or password are refused, or the database fails.
pub async fn create_administrator(
    pool: &PgPool,
    email: &str,
    password: &SecretString,
    name: &str,
    organization: &str,
) -> anyhow::Result<store::ids::OrganizationId> {
    let wanted = accounts::Wanted {
        email,
        password,
        name,
        organization,
        instance_admin: true,
    };
    let (_, organization) = accounts::create(pool, &Passwords::default(), wanted)
        .await
        .with_context(|| format!("making the administrator {email}"))?;
    Ok(organization)
}

/// A password of 100 random bits that can be read out.
#[must_use]
pub fn password() -> SecretString {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let groups: Vec<String> = (0..5)
        .map(|_| {
            (0..4)
                .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
                .collect()
        })
        .collect();
    groups.join("-").into()
}

impl FirstStart {
    /// Notes that a person has had the chance to read the page: the next start makes no other.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shown(&self, pool: &PgPool) -> store::Result<()> {
        store::settings::set(pool, SHOWN, "true").await
    }

    /// What to do next, for a person; every line with a command works as it stands.
    #[must_use]
    pub fn page(&self, config: &Config) -> String {
        let api = format!("http://{}", reachable(config.api.listen));
        let (username, smtp_password) = (&self.username, self.smtp_password.expose_secret());
        let key = self.key.expose_secret();
        let captured = config.delivery.mode == Mode::Capture;
        let mut page = String::from("\nPostroad is running. This page is shown once: keep what you need.\n\n");
        // Writing to a String cannot fail.
        let smtp = config.smtp.listen.first().copied().map(reachable);
        if let Some(smtp) = smtp {
            let _ = writeln!(page, "  SMTP           {smtp}   username {username}   password {smtp_password}");
        }
        let _ = writeln!(
            page,
            "  API            {api}/api/v1   documentation {api}/docs\n  API key        {key}"
        );
        match &self.password {
            Some(password) => {
                let _ = writeln!(page, "  Administrator  {}   password {}", self.email, password.expose_secret());
            }
            None => {
                let _ = writeln!(page, "  Administrator  {}   with the password you configured", self.email);
            }
        }
        if !captured {
            let _ = write!(
                page,
                "\nMail leaves for real. First tell Postroad a domain of yours, and publish the DNS records that it answers with:\n\n  \
                 curl -sS {api}/api/v1/domains -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
                 -d '{{\"name\":\"example.org\"}}'\n"
            );
        }
        let _ = writeln!(
            page,
            "\nSend a message, by SMTP or by HTTP{}:\n",
            if captured { "" } else { ", from that domain" }
        );
        if let Some(smtp) = smtp {
            let tls = if config.smtp.require_tls_for_auth { "--tls " } else { "" };
            let _ = writeln!(
                page,
                "  swaks --server {smtp} {tls}--auth PLAIN --auth-user {username} --auth-password {smtp_password} \
                 --from app@example.org --to you@example.net --header 'Subject: Hello'\n"
            );
        }
        let _ = writeln!(
            page,
            "  curl -sS {api}/api/v1/messages -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
             -d '{{\"from\":\"app@example.org\",\"to\":[\"you@example.net\"],\"subject\":\"Hello\",\"text\":\"It works.\"}}'"
        );
        let (title, filter) = if captured {
            (
                "Look at the result (nothing leaves this machine: mail is delivered to a built-in mailbox)",
                "?captured=true",
            )
        } else {
            ("Look at the result", "")
        };
        let _ = writeln!(
            page,
            "\n{title}:\n\n  curl -sS '{api}/api/v1/messages{filter}' -H 'Authorization: Bearer {key}'\n"
        );
        page
    }
}

/// An address that a client on this machine can use.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_readable_and_different() {
        let (one, other) = (password(), password());
        assert_eq!(one.expose_secret().len(), 24);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(auth::passwords::check_policy(&one).is_ok());
    }

    #[test]
    fn every_address_becomes_one_that_can_be_dialled() {
        for (listen, want) in [
            ("0.0.0.0:1025", "127.0.0.1:1025"),
            ("[::]:25", "[::1]:25"),
            ("192.0.2.1:8000", "192.0.2.1:8000"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), want);
        }
    }
}
