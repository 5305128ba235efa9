//! Keys from their making to their refusal, on a database of their own.

use super::*;
use crate::scopes::Scope;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct World {
    pool: PgPool,
    secrets: Arc<Secrets>,
    organization: OrganizationId,
    keys: ApiKeys,
}

async fn world(pool: PgPool, staleness: Duration) -> World {
    let secrets = Arc::new(Secrets::new(&SecretString::from("a secret for tests")));
    let organization = OrganizationId::generate();
    store::organizations::insert(&pool, organization, "Tests").await.unwrap();
    let keys = ApiKeys::with_staleness(pool.clone(), Arc::clone(&secrets), staleness);
    World {
        pool,
        secrets,
        organization,
        keys,
    }
}

impl World {
    async fn create(&self, change: impl FnOnce(&mut Wanted)) -> (ApiKey, SecretString) {
        let mut wanted = Wanted {
            name: "k".into(),
            scopes: Scopes::parse(&["messages.send"]).unwrap(),
            ..Wanted::default()
        };
        change(&mut wanted);
        create(&mut self.pool.acquire().await.unwrap(), &self.secrets, self.organization, &wanted)
            .await
            .unwrap()
    }
}

#[test]
fn a_minted_key_has_a_public_prefix_and_160_secret_bits() {
    let minted = mint(&Secrets::new(&SecretString::from("s")));
    let text = minted.plain.expose_secret();
    assert_eq!(text.len(), 3 + 10 + 1 + 32);
    assert_eq!(prefix_of(text), Some(minted.prefix.as_str()));
    for text in [
        "",
        "pr_",
        "pr_a_b",
        "PR_abcdefghij_abcdefghijklmnopqrstuvwxyzabcdef",
        "pr_abcdefghi\0_abcdefghijklmnopqrstuvwxyzabcdef",
    ] {
        assert_eq!(prefix_of(text), None, "{text:?}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_key_speaks_for_its_organization_with_its_scopes(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    let (key, plain) = world.create(|wanted| wanted.domains = vec!["a.test".into()]).await;
    for _ in 0..2 {
        let principal = world.keys.authenticate(&plain, HERE).await.unwrap();
        assert_eq!((principal.organization, principal.key), (world.organization, key.id));
        assert!(principal.scopes.allows(Scope::Send) && !principal.scopes.allows(Scope::Admin));
        assert!(principal.may_use_domain("a.test") && !principal.may_use_domain("b.test"));
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_wrong_secret_an_unknown_prefix_and_garbage_are_told_the_same(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    let (key, plain) = world.create(|_| {}).await;
    world.keys.authenticate(&plain, HERE).await.unwrap();
    let wrong = format!("pr_{}_{}", key.prefix, "a".repeat(32));
    let unknown = format!("pr_{}_{}", "a".repeat(10), "a".repeat(32));
    for text in [wrong, unknown, "garbage".to_owned(), plain.expose_secret().to_uppercase()] {
        let refused = world.keys.authenticate(&text.clone().into(), HERE).await;
        assert!(matches!(refused, Err(Refusal::Invalid)), "{text}: {refused:?}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn withdrawn_expired_and_foreign_uses_are_refused(pool: PgPool) {
    let world = world(pool, Duration::from_millis(100)).await;
    let (_, expired) = world
        .create(|w| w.expires_at = Some(Utc::now() - chrono::TimeDelta::seconds(1)))
        .await;
    assert!(matches!(world.keys.authenticate(&expired, HERE).await, Err(Refusal::Invalid)));

    let (_, bound) = world.create(|w| w.networks = vec!["10.0.0.0/8".parse().unwrap()]).await;
    assert!(matches!(
        world.keys.authenticate(&bound, HERE).await,
        Err(Refusal::AddressNotAllowed)
    ));
    world.keys.authenticate(&bound, "::ffff:10.1.2.3".parse().unwrap()).await.unwrap();

    let (key, plain) = world.create(|_| {}).await;
    world.keys.authenticate(&plain, HERE).await.unwrap();
    store::api_keys::revoke(&world.pool, world.organization, key.id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(
        matches!(world.keys.authenticate(&plain, HERE).await, Err(Refusal::Invalid)),
        "ASSURANCE A12"
    );
    assert!(matches!(
        store::api_keys::revoke(&world.pool, world.organization, key.id).await,
        Err(store::Error::NotFound)
    ));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_rotated_key_works_at_once_and_the_former_stops(pool: PgPool) {
    let world = world(pool, Duration::from_millis(100)).await;
    let (key, old) = world.create(|_| {}).await;
    world.keys.authenticate(&old, HERE).await.unwrap();
    let (_, new) = rotate(&mut world.pool.acquire().await.unwrap(), &world.secrets, world.organization, key.id)
        .await
        .unwrap();
    world.keys.authenticate(&new, HERE).await.unwrap();
    world.keys.forget();
    assert!(matches!(world.keys.authenticate(&old, HERE).await, Err(Refusal::Invalid)));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_suspended_organizations_key_is_refused_for_the_time_being(pool: PgPool) {
    let world = world(pool, Duration::from_millis(1)).await;
    let (_, plain) = world.create(|_| {}).await;
    store::organizations::set_suspended(&world.pool, world.organization, true)
        .await
        .unwrap();
    assert!(matches!(world.keys.authenticate(&plain, HERE).await, Err(Refusal::Suspended)));
    store::organizations::set_suspended(&world.pool, world.organization, false)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.keys.authenticate(&plain, HERE).await.unwrap();
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_last_use_is_written_in_the_background(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    let (key, plain) = world.create(|_| {}).await;
    world.keys.authenticate(&plain, HERE).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while store::api_keys::find(&world.pool, world.organization, key.id)
        .await
        .unwrap()
        .last_used_at
        .is_none()
    {
        assert!(tokio::time::Instant::now() < deadline, "never written");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn another_organization_sees_none_of_it(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    let (key, _) = world.create(|_| {}).await;
    let other = OrganizationId::generate();
    assert!(matches!(
        store::api_keys::find(&world.pool, other, key.id).await,
        Err(store::Error::NotFound)
    ));
    assert!(matches!(
        store::api_keys::revoke(&world.pool, other, key.id).await,
        Err(store::Error::NotFound)
    ));
    assert!(store::api_keys::list(&world.pool, other, None, 10).await.unwrap().is_empty());
    assert_eq!(
        store::api_keys::list(&world.pool, world.organization, None, 10).await.unwrap(),
        [key]
    );
}
