//! Results of DNS checks, and the change of a domain's status that follows from them.

use super::{Domain, note};
use crate::{
    Result,
    ids::{DkimKeyId, DomainId, OrganizationId},
    models::{DomainStatus, RecordPurpose, RecordStatus, RecordType},
};
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};
use std::time::Duration;

/// So many scheduled checks in a row must find a required record gone before an active domain is called failing.
pub const FAILING_AFTER: i16 = 3;

/// Why a check was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody asked: its word counts at once.
    Asked,
    /// The schedule: an active domain fails only after [`FAILING_AFTER`] bad ones in a row.
    Scheduled,
}

/// What a check found for one wanted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRecord {
    /// What the record is for.
    pub purpose: RecordPurpose,
    /// Its type.
    pub kind: RecordType,
    /// Its full name.
    pub name: String,
    /// Whether the domain cannot be used without it.
    pub required: bool,
    /// The signing key it publishes.
    pub key: Option<DkimKeyId>,
    /// `Unchecked`: the look-up failed, and the former result stays.
    pub status: RecordStatus,
    /// What is there, shortened for display.
    pub found: Vec<String>,
}

/// One check of a whole domain.
#[derive(Debug, Clone)]
pub struct Checks {
    /// Why it was made.
    pub occasion: Occasion,
    /// How often an active domain is looked at.
    pub interval: Duration,
    /// Every wanted record.
    pub records: Vec<CheckedRecord>,
}

/// The kept result for one wanted record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordState {
    /// What the record is for.
    pub purpose: RecordPurpose,
    /// Its type.
    pub kind: RecordType,
    /// Its full name.
    pub name: String,
    /// What the last check that got an answer found.
    pub status: RecordStatus,
    /// What was there.
    pub found: Vec<String>,
    /// When that was.
    pub checked_at: DateTime<Utc>,
}

/// The kept results of a domain.
///
/// # Errors
/// When the database fails.
pub async fn records(executor: impl PgExecutor<'_>, organization: OrganizationId, domain: DomainId) -> Result<Vec<RecordState>> {
    // domains::records
    Ok(sqlx::query_as!(
        RecordState,
        r#"select r.purpose as "purpose: RecordPurpose", r.type as "kind: RecordType", r.name, r.status as "status: RecordStatus", r.found,
                  r.checked_at
           from domain_record r join domain d on d.id = r.domain_id
           where d.organization_id = $1 and d.id = $2 order by r.purpose, r.name, r.type"#,
        organization.0,
        domain.0
    )
    .fetch_all(executor)
    .await?)
}

/// Takes up to `limit` domains of the instance whose check is due, and books their next one for the case that this process dies.
///
/// # Errors
/// When the database fails.
pub async fn due_for_check(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Domain>> {
    // domains::due_for_check
    Ok(sqlx::query_as!(
        Domain,
        r#"update domain set next_check_at = now() + interval '10 minutes'
           where id in (select id from domain where next_check_at <= now() order by next_check_at limit $1 for update skip locked)
           returning id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                     ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at"#,
        limit
    )
    .fetch_all(executor)
    .await?)
}

/// Keeps the results of a check, and with them the domain's new status, its keys' new states and the event, in one transaction.
///
/// # Errors
/// `NotFound` when the domain is gone. `Conflict` ([`super::VERIFIED_NAME`]) when another organization proved the name first: nothing of the
/// check is kept then.
pub async fn save_check(pool: &PgPool, organization: OrganizationId, id: DomainId, checks: &Checks) -> Result<Domain> {
    let mut transaction = pool.begin().await?;
    let (former, bad_checks) = locked(&mut transaction, organization, id).await?;
    write_records(&mut transaction, id, &checks.records).await?;
    let kept = records(&mut *transaction, organization, id).await?;
    let verdict = verdict(&kept, &checks.records);
    let next = next_state(former.status, bad_checks, verdict, checks.occasion);
    for key in checks
        .records
        .iter()
        .filter(|record| record.status == RecordStatus::Ok)
        .filter_map(|record| record.key)
    {
        activate(&mut transaction, id, key).await?;
    }
    let domain = write_state(&mut transaction, &former, next, checks.interval).await?;
    match (former.status, domain.status) {
        (DomainStatus::Pending | DomainStatus::Failing, DomainStatus::Active) => note(&mut transaction, &domain, "domain.verified").await?,
        (DomainStatus::Active, DomainStatus::Failing) => note(&mut transaction, &domain, "domain.failing").await?,
        _ => {}
    }
    transaction.commit().await?;
    Ok(domain)
}

/// What the required records say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    /// None is bad, but not all could be looked up.
    Unknown,
}

fn verdict(kept: &[RecordState], checked: &[CheckedRecord]) -> Verdict {
    let mut verdict = Verdict::Good;
    for wanted in checked.iter().filter(|record| record.required) {
        let status = kept
            .iter()
            .find(|record| (record.purpose, record.kind, &record.name) == (wanted.purpose, wanted.kind, &wanted.name))
            .map_or(RecordStatus::Unchecked, |record| record.status);
        match status {
            RecordStatus::Ok => {}
            RecordStatus::Missing | RecordStatus::Wrong => return Verdict::Bad,
            RecordStatus::Unchecked => verdict = Verdict::Unknown,
        }
    }
    verdict
}

/// The status and the count of bad checks that follow. Pure.
fn next_state(status: DomainStatus, bad_checks: i16, verdict: Verdict, occasion: Occasion) -> (DomainStatus, i16) {
    match (verdict, status) {
        (Verdict::Good, _) => (DomainStatus::Active, 0),
        (Verdict::Unknown, status) => (status, bad_checks),
        (Verdict::Bad, DomainStatus::Pending) => (DomainStatus::Pending, 0),
        (Verdict::Bad, DomainStatus::Failing) => (DomainStatus::Failing, FAILING_AFTER),
        (Verdict::Bad, DomainStatus::Active) => match (occasion, bad_checks.saturating_add(1)) {
            (Occasion::Scheduled, count) if count < FAILING_AFTER => (DomainStatus::Active, count),
            _ => (DomainStatus::Failing, FAILING_AFTER),
        },
    }
}

/// How long until the next scheduled check. A name that is not proved after a week is looked at once a day.
fn wait(status: DomainStatus, bad_checks: i16, age: chrono::TimeDelta, interval: Duration) -> Duration {
    let minutes = match status {
        DomainStatus::Pending if age < chrono::TimeDelta::hours(1) => 2,
        DomainStatus::Pending if age < chrono::TimeDelta::days(7) => 60,
        DomainStatus::Pending => 24 * 60,
        DomainStatus::Active if bad_checks == 0 => return interval,
        DomainStatus::Active => return interval.min(Duration::from_secs(20 * 60)),
        DomainStatus::Failing => return interval.min(Duration::from_secs(3600)),
    };
    Duration::from_secs(minutes * 60)
}

async fn locked(connection: &mut PgConnection, organization: OrganizationId, id: DomainId) -> Result<(Domain, i16)> {
    // domains::locked — two checks of one domain are kept one after the other
    let bad_checks = sqlx::query_scalar!(
        "select failing_checks from domain where organization_id = $1 and id = $2 for update",
        organization.0,
        id.0
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok((super::find(connection, organization, id).await?, bad_checks))
}

async fn write_records(connection: &mut PgConnection, domain: DomainId, records: &[CheckedRecord]) -> Result<()> {
    let names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
    let purposes: Vec<&str> = records.iter().map(|record| record.purpose.as_str()).collect();
    let kinds: Vec<&str> = records.iter().map(|record| record.kind.as_str()).collect();
    // domains::write_records — what is no longer wanted goes
    sqlx::query!(
        "delete from domain_record r where r.domain_id = $1 and not exists (
             select from unnest($2::text[], $3::text[], $4::text[]) as w(purpose, type, name)
             where (w.purpose, w.type, w.name) = (r.purpose::text, r.type::text, r.name))",
        domain.0,
        &purposes as _,
        &kinds as _,
        &names as _
    )
    .execute(&mut *connection)
    .await?;
    for record in records {
        // domains::write_record — a look-up that failed does not overwrite what an earlier one found
        sqlx::query!(
            "insert into domain_record (domain_id, purpose, type, name, status, found, checked_at) values ($1, $2, $3, $4, $5, $6, now())
             on conflict (domain_id, purpose, type, name) do update
                 set status = excluded.status, found = excluded.found, checked_at = excluded.checked_at
                 where excluded.status <> 'unchecked'",
            domain.0,
            record.purpose as RecordPurpose,
            record.kind as RecordType,
            record.name,
            record.status as RecordStatus,
            &record.found
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A pending key seen in DNS signs from now on; the one it replaces retires.
async fn activate(connection: &mut PgConnection, domain: DomainId, key: DkimKeyId) -> Result<()> {
    // domains::retire_former
    sqlx::query!(
        "update dkim_key k set state = 'retiring' from dkim_key new
         where new.id = $2 and new.domain_id = $1 and new.state = 'pending'
           and k.domain_id = $1 and k.algorithm = new.algorithm and k.state = 'active'",
        domain.0,
        key.0
    )
    .execute(&mut *connection)
    .await?;
    // domains::activate
    sqlx::query!(
        "update dkim_key set state = 'active' where domain_id = $1 and id = $2 and state = 'pending'",
        domain.0,
        key.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_state(
    connection: &mut PgConnection,
    former: &Domain,
    (status, bad_checks): (DomainStatus, i16),
    interval: Duration,
) -> Result<Domain> {
    let age = Utc::now().signed_duration_since(former.created_at);
    // domains::write_state — the next check is spread a little, so that domains made together are not checked together
    Ok(sqlx::query_as!(
        Domain,
        r#"update domain set status = $3, failing_checks = $4::smallint, last_checked_at = now(),
               next_check_at = now() + make_interval(secs => $5 * (0.9 + 0.2 * random())),
               verified_at = case when $3 <> 'pending'::domain_status then coalesce(verified_at, now()) end,
               failing_since = case when $4::smallint > 0 then coalesce(failing_since, now()) end
           where organization_id = $1 and id = $2
           returning id as "id: DomainId", organization_id as "organization: OrganizationId", name, status as "status: DomainStatus",
                     ownership_token, verified_at, return_path_label, sign, failing_since, last_checked_at, created_at"#,
        former.organization.0,
        former.id.0,
        status as DomainStatus,
        bad_checks,
        wait(status, bad_checks, age, interval).as_secs_f64()
    )
    .fetch_one(connection)
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DomainStatus::{Active, Failing, Pending};

    #[test]
    fn a_domain_fails_after_three_bad_scheduled_checks_or_one_that_was_asked_for() {
        let table = [
            (Pending, 0, Verdict::Bad, Occasion::Asked, (Pending, 0)),
            (Pending, 0, Verdict::Unknown, Occasion::Asked, (Pending, 0)),
            (Pending, 0, Verdict::Good, Occasion::Scheduled, (Active, 0)),
            (Active, 0, Verdict::Bad, Occasion::Scheduled, (Active, 1)),
            (Active, 1, Verdict::Bad, Occasion::Scheduled, (Active, 2)),
            (Active, 2, Verdict::Unknown, Occasion::Scheduled, (Active, 2)),
            (Active, 2, Verdict::Bad, Occasion::Scheduled, (Failing, 3)),
            (Active, 0, Verdict::Bad, Occasion::Asked, (Failing, 3)),
            (Active, 2, Verdict::Good, Occasion::Scheduled, (Active, 0)),
            (Failing, 3, Verdict::Good, Occasion::Scheduled, (Active, 0)),
            (Failing, 3, Verdict::Bad, Occasion::Scheduled, (Failing, 3)),
        ];
        for (status, count, verdict, occasion, want) in table {
            assert_eq!(
                next_state(status, count, verdict, occasion),
                want,
                "{status} {count} {verdict:?} {occasion:?}"
            );
        }
    }
}
