//! postroad-load: measures parts of the store directly, for `make bench`.
//!
//! Works in a database of its own inside the given cluster and drops it at the end. Prints one JSON object on stdout.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use anyhow::Context as _;
use chrono::DateTime;
use clap::{Parser, Subcommand};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use std::time::{Duration, Instant};
use store::{
    models::DeliveryStatus,
    queue::{self, Finish, Outcome, Want},
};
use uuid::Uuid;

#[derive(Parser)]
#[command(about = "Measures parts of the store directly")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Claims a second, while so many deliveries stay due.
    Claims {
        /// Deliveries due all the time.
        #[arg(long)]
        due: i64,
        /// A database of the cluster; its role must be allowed to make databases.
        #[arg(long)]
        database: String,
        /// Claims to make, in batches of a hundred.
        #[arg(long, default_value_t = 20_000)]
        claims: usize,
        /// Keep a snapshot open, as a forgotten transaction or a long report does.
        #[arg(long)]
        snapshot: bool,
    },
}

const SCRATCH: &str = "postroad_load";
const BATCH: usize = 100;
/// Lanes that the deliveries are spread over.
const LANES: i64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let What::Claims {
        due,
        database,
        claims,
        snapshot,
    } = Arguments::parse().what;
    let mut server = PgConnection::connect(&database).await.context("connecting to the cluster")?;
    for statement in [format!("drop database if exists {SCRATCH}"), format!("create database {SCRATCH}")] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await?;
    }
    let options: sqlx::postgres::PgConnectOptions = database.parse()?;
    let pool = PgPool::connect_with(options.database(SCRATCH)).await?;
    let measured = measure(&pool, due, claims, snapshot).await;
    pool.close().await;
    sqlx::query(AssertSqlSafe(format!("drop database {SCRATCH} with (force)")))
        .execute(&mut server)
        .await?;
    println!("{}", measured?);
    Ok(())
}

async fn measure(pool: &PgPool, due: i64, claims: usize, snapshot: bool) -> anyhow::Result<serde_json::Value> {
    store::migrate(pool).await?;
    let organization = Uuid::now_v7();
    sqlx::query("insert into organization (id, name) values ($1, 'load')")
        .bind(organization)
        .execute(pool)
        .await?;
    sqlx::query("insert into lane (organization_id, stream, destination) select $1, 'transactional', 'd' || n || '.test' from generate_series(1, $2) n")
        .bind(organization)
        .bind(LANES)
        .execute(pool)
        .await?;
    let lanes: Vec<i64> = sqlx::query_scalar("select id from lane order by id").fetch_all(pool).await?;
    fill(pool, organization, &lanes, due).await?;
    sqlx::query("vacuum analyze").execute(pool).await?;
    sqlx::query("checkpoint").execute(pool).await?;
    let mut reader = pool.acquire().await?;
    if snapshot {
        sqlx::query("begin isolation level repeatable read").execute(&mut *reader).await?;
        sqlx::query("select count(*) from lane").execute(&mut *reader).await?;
    }
    let mut connection = queue::batch_connection(pool).await?;
    let (mut claiming, mut finishing) = (Duration::ZERO, Duration::ZERO);
    let mut since = vec![DateTime::UNIX_EPOCH; lanes.len()];
    let mut made = 0;
    while made < claims {
        let turn = made / BATCH % lanes.len();
        let started = Instant::now();
        let want = Want {
            lane: lanes[turn],
            room: i32::try_from(BATCH)?,
            since: since[turn],
        };
        let claimed = queue::claim(&mut connection, organization, &[want]).await?;
        claiming += started.elapsed();
        anyhow::ensure!(!claimed.is_empty(), "nothing was due");
        since[turn] = claimed.iter().map(|claimed| claimed.due_at).max().unwrap_or(since[turn]);
        made += claimed.len();
        let outcomes: Vec<Outcome> = claimed
            .iter()
            .map(|claimed| Outcome {
                message: claimed.message,
                number: claimed.number,
                token: claimed.token,
                finish: Finish::Over(DeliveryStatus::Delivered),
                enhanced_code: None,
                reason: None,
                suppress: false,
                report: false,
            })
            .collect();
        let started = Instant::now();
        queue::finish(&mut connection, &outcomes, &[]).await?;
        finishing += started.elapsed();
        fill(pool, organization, &lanes[turn..=turn], i64::try_from(outcomes.len())?).await?;
    }
    Ok(serde_json::json!({
        "due": due,
        "claims": made,
        "claims_per_second": made as f64 / claiming.as_secs_f64(),
        "outcomes_per_second": made as f64 / finishing.as_secs_f64(),
    }))
}

/// Makes deliveries that are due, a message each, spread evenly over the lanes.
async fn fill(pool: &PgPool, organization: Uuid, lanes: &[i64], count: i64) -> anyhow::Result<()> {
    sqlx::query(
        "with made as (
             select new_uuid() as id, ($2::bigint[])[1 + n % cardinality($2::bigint[])] as lane_id from generate_series(1, $3) n
         ), messages as (
             insert into message (organization_id, id, direction, via, envelope_sender, header_from, subject, message_id_header, size_bytes,
                 eight_bit, smtputf8, stream, expires_at)
             select $1, id, 'outbound', 'smtp', 'app@sender.test', 'app@sender.test', 'load', '<load@sender.test>', 1000, false, false,
                 'transactional', now() + interval '5 days' from made
         ), deliveries as (
             insert into delivery (message_id, number, organization_id, recipient, recipient_folded, kind, status, destination)
             select id, 0, $1, 'r@rcpt.test', 'r@rcpt.test', 'envelope', 'queued', 0 from made
         )
         insert into queue (message_id, number, organization_id, lane_id, due_at, expires_at)
         select id, 0, $1, lane_id, clock_timestamp(), now() + interval '5 days' from made",
    )
    .bind(organization)
    .bind(lanes)
    .bind(count)
    .execute(pool)
    .await?;
    Ok(())
}
