//! Credentials from their making to their refusal, on a database of their own.

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

struct World {
    pool: PgPool,
    secrets: Arc<Secrets>,
    organization: OrganizationId,
    credentials: SmtpCredentials,
}

async fn world(pool: PgPool, staleness: Duration) -> World {
    let secrets = Arc::new(Secrets::new(&SecretString::from("a secret for tests")));
    let organization = OrganizationId::generate();
    store::organizations::insert(&pool, organization, "Tests").await.unwrap();
    let credentials = SmtpCredentials::with_staleness(pool.clone(), Arc::clone(&secrets), staleness);
    World {
        pool,
        secrets,
        organization,
        credentials,
    }
}

impl World {
    async fn create(&self, kind: SmtpCredentialType, networks: &[&str]) -> Result<(SmtpCredential, Option<SecretString>), CreateError> {
        let wanted = Wanted {
            name: "My App".into(),
            kind,
            networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
            allowed_from: vec!["@a.test".into()],
            stream: "bulk".into(),
        };
        create(&mut self.pool.acquire().await.unwrap(), &self.secrets, self.organization, &wanted).await
    }

    async fn password(&self, networks: &[&str]) -> (SmtpCredential, SecretString) {
        let (credential, password) = self.create(SmtpCredentialType::Password, networks).await.unwrap();
        (credential, password.unwrap())
    }
}

#[test]
fn usernames_begin_with_a_readable_part() {
    for (name, wanted) in [
        ("My App", "my-app"),
        ("  ", "smtp"),
        ("Büro & Co.", "b-ro-co"),
        ("a very long name of some program", "a-very-long-name-of"),
        ("日本", "smtp"),
    ] {
        assert_eq!(slug(name), wanted);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_right_password_admits_and_everything_else_is_told_the_same(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    let (credential, password) = world.password(&[]).await;
    assert!(credential.username.starts_with("my-app-") && credential.username.len() == 7 + 8);
    assert_eq!(password.expose_secret().len(), 32);
    for _ in 0..2 {
        let principal = world.credentials.authenticate(&credential.username, &password, HERE).await.unwrap();
        assert_eq!((principal.organization, principal.credential), (world.organization, credential.id));
        assert_eq!(
            (&*principal.allowed_from, &*principal.stream),
            (&["@a.test".to_owned()][..], "bulk")
        );
        world.credentials.recheck(&principal, HERE).await.unwrap();
    }
    let wrong = SecretString::from("wrong");
    let nothing = SecretString::from("");
    for (username, password) in [
        (credential.username.as_str(), &wrong),
        (credential.username.as_str(), &nothing),
        ("my-app-aaaaaaaa", &password),
        ("", &password),
        ("a\0b\r\n", &password),
        (&*"x".repeat(12_000), &password),
    ] {
        let refused = world.credentials.authenticate(username, password, HERE).await;
        assert!(matches!(refused, Err(Refusal::Invalid)), "{username:?}: {refused:?}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_password_may_be_bound_to_networks(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    let (credential, password) = world.password(&["10.0.0.0/8"]).await;
    assert!(matches!(
        world.credentials.authenticate(&credential.username, &password, HERE).await,
        Err(Refusal::Invalid)
    ));
    world
        .credentials
        .authenticate(&credential.username, &password, "10.1.1.1".parse().unwrap())
        .await
        .unwrap();
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_withdrawn_credential_stops_on_open_sessions(pool: PgPool) {
    // ASSURANCE A12
    let world = world(pool, Duration::from_millis(100)).await;
    let (credential, password) = world.password(&[]).await;
    let principal = world.credentials.authenticate(&credential.username, &password, HERE).await.unwrap();
    store::smtp_credentials::revoke(&world.pool, world.organization, credential.id)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(matches!(world.credentials.recheck(&principal, HERE).await, Err(Refusal::Invalid)));
    assert!(matches!(
        world.credentials.authenticate(&credential.username, &password, HERE).await,
        Err(Refusal::Invalid)
    ));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_suspended_organization_is_refused_for_the_time_being(pool: PgPool) {
    let world = world(pool, Duration::from_millis(1)).await;
    let (credential, password) = world.password(&[]).await;
    world.create(SmtpCredentialType::Network, &["192.0.2.0/24"]).await.unwrap();
    let principal = world.credentials.authenticate(&credential.username, &password, HERE).await.unwrap();
    store::organizations::set_suspended(&world.pool, world.organization, true)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(matches!(world.credentials.recheck(&principal, HERE).await, Err(Refusal::Suspended)));
    assert!(matches!(
        world.credentials.authenticate(&credential.username, &password, HERE).await,
        Err(Refusal::Suspended)
    ));
    assert!(matches!(world.credentials.admit_by_network(HERE).await, Err(Refusal::Suspended)));
    let wrong = SecretString::from("wrong");
    assert!(matches!(
        world.credentials.authenticate(&credential.username, &wrong, HERE).await,
        Err(Refusal::Invalid)
    ));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_network_admits_its_peers_and_the_narrowest_wins(pool: PgPool) {
    let world = world(pool, Duration::from_millis(50)).await;
    assert_eq!(world.credentials.admit_by_network(HERE).await.unwrap(), None);
    let (wide, none) = world
        .create(SmtpCredentialType::Network, &["192.0.0.0/8", "127.0.0.0/8"])
        .await
        .unwrap();
    assert!(none.is_none());
    let (narrow, _) = world.create(SmtpCredentialType::Network, &["192.0.2.0/24"]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    for (peer, admitted) in [
        ("192.0.2.9", Some(narrow.id)),
        ("192.1.2.9", Some(wide.id)),
        ("127.0.0.1", Some(wide.id)),
        ("10.0.0.1", None),
        ("::1", None),
    ] {
        let principal = world.credentials.admit_by_network(peer.parse().unwrap()).await.unwrap();
        assert_eq!(principal.map(|p| p.credential), admitted, "{peer}");
    }
    let principal = world.credentials.admit_by_network(HERE).await.unwrap().unwrap();
    world.credentials.recheck(&principal, HERE).await.unwrap();
    assert!(matches!(
        world.credentials.recheck(&principal, "10.0.0.1".parse().unwrap()).await,
        Err(Refusal::Invalid)
    ));
    let password = SecretString::from("");
    assert!(matches!(
        world.credentials.authenticate(&narrow.username, &password, HERE).await,
        Err(Refusal::Invalid)
    ));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_network_credential_needs_networks_and_never_the_whole_world(pool: PgPool) {
    let world = world(pool, STALENESS).await;
    assert!(matches!(
        world.create(SmtpCredentialType::Network, &[]).await,
        Err(CreateError::NoNetworks)
    ));
    for wide in ["0.0.0.0/0", "::/0", "0.0.0.0/1"] {
        assert!(
            matches!(
                world.create(SmtpCredentialType::Network, &[wide]).await,
                Err(CreateError::Network(_))
            ),
            "{wide}"
        );
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_change_reaches_open_sessions(pool: PgPool) {
    let world = world(pool, Duration::from_millis(50)).await;
    let (credential, password) = world.password(&[]).await;
    let principal = world.credentials.authenticate(&credential.username, &password, HERE).await.unwrap();
    let change = store::smtp_credentials::SmtpCredentialChange {
        allowed_from: Some(&[]),
        stream: Some("x"),
        ..Default::default()
    };
    store::smtp_credentials::update(&world.pool, world.organization, credential.id, change)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    let now = world.credentials.recheck(&principal, HERE).await.unwrap();
    assert!(now.allowed_from.is_empty() && &*now.stream == "x");
    assert!(matches!(
        store::smtp_credentials::update(&world.pool, OrganizationId::generate(), credential.id, change).await,
        Err(store::Error::NotFound)
    ));
}
