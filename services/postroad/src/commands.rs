//! The commands that do one thing and end.

use crate::{
    bootstrap,
    cli::{AdminCommand, ApiKeyCommand, Chosen, QueueCommand, Which},
    database::{self, Database},
};
use anyhow::{Context, bail};
use auth::{api_keys, scopes::Scopes};
use config::{Config, ExposeSecret, SecretString};
use std::{
    io::Write as _,
    time::{Duration, Instant},
};
use store::{
    PgPool,
    ids::OrganizationId,
    operator::{self, Moved, Selection},
    schema,
};

/// How long `postroad migrate` waits for a database that is just starting: both are often started together.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes to stdout; a reader that went away is not an error of ours.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The organization of this id or name; the oldest when none is given.
///
/// # Errors
/// When there is none, or the name fits several.
pub async fn organization(pool: &PgPool, wanted: Option<&str>) -> anyhow::Result<OrganizationId> {
    let found = match wanted {
        None => store::organizations::list(pool, None, 1).await?,
        Some(text) => match text.parse::<OrganizationId>() {
            Ok(id) => match store::organizations::find(pool, id).await {
                Ok(organization) => vec![organization],
                Err(store::Error::NotFound) => Vec::new(),
                Err(error) => return Err(error.into()),
            },
            Err(_) => store::organizations::named(pool, text).await?,
        },
    };
    match (&found[..], wanted) {
        ([one], _) => Ok(one.id),
        ([], None) => bail!("there is no organization yet: start `postroad up` once, or run `postroad admin create`"),
        ([], Some(wanted)) => bail!("there is no organization {wanted:?}"),
        (several, _) => {
            let ids: Vec<String> = several.iter().map(|organization| organization.id.to_string()).collect();
            bail!("several organizations have that name; name one by its id: {}", ids.join(", "))
        }
    }
}

pub(crate) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let database = Database::reach(config).await?;
    let begin = Instant::now();
    let result = loop {
        match schema::state(&database.pool).await {
            Ok(schema::State::Current) => break Ok("the schema is current\n"),
            Ok(schema::State::Unknown) => break Err(anyhow::anyhow!("the database was migrated by another version of postroad")),
            Ok(schema::State::Behind) => {
                let migrated = store::migrate(&database.pool).await;
                break migrated.map(|()| "migrated\n").context("migrating the database");
            }
            Err(error) if begin.elapsed() > PATIENCE => break Err(error).context("reaching the database"),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    database.close().await;
    say(result?);
    Ok(())
}

pub(crate) async fn admin(config: &Config, command: AdminCommand) -> anyhow::Result<()> {
    let AdminCommand::Create { email, name, organization } = command;
    let email = email
        .or_else(|| config.bootstrap.admin_email.clone())
        .context("give the address by --email")?;
    let database = Database::open(config).await?;
    let (password, made) = match &config.bootstrap.admin_password {
        Some(password) => (password.clone(), false),
        None => (bootstrap::password(), true),
    };
    let created = bootstrap::create_administrator(&database.pool, &email, &password, &name, &organization).await;
    database.close().await;
    let organization = created?;
    let password = if made { password.expose_secret() } else { "as configured" };
    say(&format!(
        "administrator  {email}\npassword       {password}\norganization   {organization}\n"
    ));
    Ok(())
}

pub(crate) async fn api_key(config: &Config, command: ApiKeyCommand) -> anyhow::Result<()> {
    let ApiKeyCommand::Create { name, org, scopes } = command;
    let scopes = if scopes.is_empty() {
        Scopes::every()
    } else {
        Scopes::parse(&scopes)?
    };
    if name.trim().is_empty() || name.chars().count() > 200 {
        bail!("a name has 1 to 200 characters");
    }
    let database = Database::open(config).await?;
    let wanted = api_keys::Wanted {
        name,
        scopes,
        ..api_keys::Wanted::default()
    };
    let created = Box::pin(create_key(config, &database.pool, org.as_deref(), &wanted)).await;
    database.close().await;
    say(&format!("{}\n", created?.expose_secret()));
    Ok(())
}

async fn create_key(config: &Config, pool: &PgPool, org: Option<&str>, wanted: &api_keys::Wanted) -> anyhow::Result<SecretString> {
    let organization = organization(pool, org).await?;
    let secrets = database::secrets(config, pool).await?;
    let mut connection = pool.acquire().await?;
    let (_, key) = api_keys::create(&mut connection, &secrets, organization, wanted).await?;
    Ok(key)
}

pub(crate) async fn queue(config: &Config, command: QueueCommand) -> anyhow::Result<()> {
    let database = Database::open(config).await?;
    let done = match command {
        QueueCommand::List { which, limit } => list(&database.pool, &which, i64::from(limit)).await,
        QueueCommand::Retry { which } => shift(&database.pool, &which, "made due now", operator::retry).await,
        QueueCommand::Hold { which } => shift(&database.pool, &which, "held", operator::hold).await,
        QueueCommand::Release { which } => shift(&database.pool, &which, "released", operator::release).await,
    };
    database.close().await;
    say(&done?);
    Ok(())
}

async fn chosen_organization(pool: &PgPool, which: &Which) -> anyhow::Result<Option<OrganizationId>> {
    match &which.organization {
        Some(wanted) => organization(pool, Some(wanted)).await.map(Some),
        None => Ok(None),
    }
}

async fn list(pool: &PgPool, which: &Which, limit: i64) -> anyhow::Result<String> {
    let organization = chosen_organization(pool, which).await?;
    let waiting = operator::waiting(pool, which.selection(organization), limit).await?;
    let mut text = String::from("message\trecipient\tstatus\tattempts\tdue\treason\n");
    for delivery in &waiting {
        let due = match delivery.in_progress {
            true => "in progress".to_owned(),
            false => delivery.due_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        // Reasons come from strangers: nothing in them may move the terminal's cursor.
        let reason: String = delivery
            .reason
            .iter()
            .flat_map(|reason| reason.chars())
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = format!(
            "{}\t{}\t{}\t{}\t{due}\t{reason}\n",
            delivery.message, delivery.recipient, delivery.status, delivery.attempts
        );
        text.push_str(&line);
    }
    Ok(text)
}

/// Repeats a change until it finds nothing more, and wakes the workers.
async fn shift<'a, F, R>(pool: &'a PgPool, chosen: &'a Chosen, what: &str, change: F) -> anyhow::Result<String>
where
    F: Fn(&'a PgPool, Selection<'a>) -> R,
    R: Future<Output = store::Result<Moved>>,
{
    let organization = chosen_organization(pool, &chosen.which).await?;
    let selection = chosen.which.selection(organization);
    let mut total = 0;
    loop {
        let moved = change(pool, selection).await?;
        for lanes in moved.lanes.chunks(300) {
            // A hint: workers look for themselves.
            let _ = store::wake::notify(pool, lanes).await;
        }
        total += moved.deliveries;
        if i64::try_from(moved.deliveries).is_ok_and(|moved| moved < operator::AT_A_TIME) {
            return Ok(format!("{total} deliveries {what}\n"));
        }
    }
}
