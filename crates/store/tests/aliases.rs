//! The way in on a real PostgreSQL: who takes mail for an address, and what keeps organizations apart.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong fails it")]

use chrono::{Duration, Utc};
use sqlx::PgPool;
use store::{
    Error,
    aliases::{self, AliasChange, AliasFilter, Change, NewAlias, Resolution, WhyNot},
    changes, contacts,
    destinations::{self, NewDestination},
    ids::{AliasId, DestinationId, DomainId, OrganizationId},
    models::{AliasState, DestinationKind, RepliesAs, SenderListing},
    rules::{self, NewRule, Scope},
    sender_lists,
};

struct World {
    pool: PgPool,
    organization: OrganizationId,
    domain: DomainId,
}

impl World {
    async fn new(pool: PgPool, name: &str) -> Self {
        let (organization, domain) = (OrganizationId::generate(), DomainId::generate());
        sqlx::query("insert into organization (id, name) values ($1, 'test')")
            .bind(organization.0)
            .execute(&pool)
            .await
            .unwrap();
        sqlx::query(
            "insert into domain (id, organization_id, name, status, ownership_token, verified_at) values ($1, $2, $3, 'active', '', now())",
        )
        .bind(domain.0)
        .bind(organization.0)
        .bind(name)
        .execute(&pool)
        .await
        .unwrap();
        Self {
            pool,
            organization,
            domain,
        }
    }

    async fn owner(&self, email: &str) {
        let id = uuid::Uuid::now_v7();
        for query in [
            "insert into app_user (id, email, password_hash) values ($1, $3, '') returning $2::uuid",
            "insert into membership (user_id, organization_id, role) select $1, $2, 'owner' where $3::text is not null",
        ] {
            let query = sqlx::query(query).bind(id).bind(self.organization.0).bind(email);
            query.execute(&self.pool).await.unwrap();
        }
    }

    async fn destination(&self, address: &str, verified: bool) -> DestinationId {
        let new = NewDestination {
            id: DestinationId::generate(),
            kind: DestinationKind::Mailbox,
            address,
            address_folded: &address.to_lowercase(),
            verified,
            verification_hash: (!verified).then_some(b"hash"),
            signing_secret: None,
        };
        let mut connection = self.pool.acquire().await.unwrap();
        destinations::find_or_insert(&mut connection, self.organization, new)
            .await
            .unwrap()
            .0
            .id
    }

    async fn alias(&self, local_part: &str, to: &[DestinationId]) -> AliasId {
        self.try_alias(local_part, to).await.unwrap()
    }

    async fn try_alias(&self, local_part: &str, to: &[DestinationId]) -> store::Result<AliasId> {
        let new = NewAlias {
            domain: self.domain,
            local_part,
            pattern: local_part.contains('*'),
            replies: RepliesAs::Direct,
            description: "",
            expires_at: None,
            max_messages: None,
            destinations: to,
        };
        let mut connection = self.pool.acquire().await.unwrap();
        Ok(aliases::insert(&mut connection, self.organization, new).await?.id)
    }

    async fn change(&self, id: AliasId, change: AliasChange<'_>) {
        let mut connection = self.pool.acquire().await.unwrap();
        aliases::update(&mut connection, self.organization, id, change).await.unwrap();
    }

    async fn resolve(&self, local_part: &str) -> Resolution {
        aliases::resolve(&self.pool, "mine.test", local_part).await.unwrap()
    }

    /// The alias that takes mail for the local part, and the addresses it goes to.
    async fn taker(&self, local_part: &str) -> (String, Vec<String>) {
        let addresses = |targets: Vec<aliases::Target>| targets.into_iter().map(|target| target.address).collect();
        match self.resolve(local_part).await {
            Resolution::NotHosted => ("not hosted".to_owned(), Vec::new()),
            Resolution::NoAlias { .. } => ("nobody".to_owned(), Vec::new()),
            Resolution::Alias { alias, destinations, .. } => (alias.local_part, addresses(destinations)),
            Resolution::CatchAll { destinations, .. } => ("catch-all".to_owned(), addresses(destinations)),
            Resolution::Owner { address, .. } => ("owner".to_owned(), vec![address]),
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_address_is_looked_for_as_it_stands_then_untagged_then_by_pattern_then_anywhere(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let (me, other) = (
        world.destination("Me@home.test", true).await,
        world.destination("other@home.test", false).await,
    );
    world.alias("shop", &[other, me]).await;
    world.alias("shop+vip", &[me]).await;
    world.alias("shop-*", &[me]).await;
    world.alias("shop-a*-x_y", &[other]).await;
    world.alias("50%*", &[me]).await;
    for (local_part, taker) in [
        ("shop", "shop"),
        ("shop+news", "shop"),
        ("shop+vip", "shop+vip"),
        ("shop-1", "shop-*"),
        ("shop-", "shop-*"),
        ("shop-abc-x_y", "shop-a*-x_y"),
        ("shop-abc-xzy", "shop-*"),
        ("shop-abc-x_y+tag", "shop-a*-x_y"),
        ("shopping", "nobody"),
        ("50%off", "50%*"),
        ("50off", "nobody"),
        ("+shop", "nobody"),
        ("nobody+shop", "nobody"),
        ("shop-*", "shop-*"),
        ("postmaster", "nobody"),
    ] {
        assert_eq!(world.taker(local_part).await.0, taker, "{local_part}");
    }
    assert_eq!(world.taker("shop").await.1, ["other@home.test", "Me@home.test"]);
    let Resolution::Alias {
        destinations,
        alias,
        domain,
    } = world.resolve("shop").await
    else {
        panic!()
    };
    assert_eq!(destinations.iter().map(|target| target.verified).collect::<Vec<_>>(), [false, true]);
    assert!(domain.subaddressing && domain.name == "mine.test" && domain.organization == world.organization);
    assert_eq!((alias.state, alias.message_count), (AliasState::Active, 0));

    let mut connection = world.pool.acquire().await.unwrap();
    destinations::set_catch_all(&mut connection, world.organization, world.domain, &[other])
        .await
        .unwrap();
    assert_eq!(
        world.taker("anything").await,
        ("catch-all".to_owned(), vec!["other@home.test".to_owned()])
    );
    world.owner("owner@org.test").await;
    assert_eq!(
        world.taker("postmaster").await,
        ("owner".to_owned(), vec!["owner@org.test".to_owned()])
    );
    assert_eq!(world.taker("abuse+x").await.0, "owner");
    world.alias("abuse", &[me]).await;
    assert_eq!(world.taker("abuse").await.0, "abuse");
    sqlx::query("update domain set subaddressing = false")
        .execute(&world.pool)
        .await
        .unwrap();
    destinations::set_catch_all(&mut connection, world.organization, world.domain, &[])
        .await
        .unwrap();
    assert_eq!(world.taker("shop+news").await.0, "nobody");
    assert_eq!(
        aliases::resolve(&world.pool, "other.test", "shop").await.unwrap(),
        Resolution::NotHosted
    );
    sqlx::query("update domain set verified_at = null, status = 'pending'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(world.taker("shop").await.0, "not hosted");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_deleted_alias_keeps_its_address_and_its_mail_goes_nowhere(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let me = world.destination("me@home.test", true).await;
    let shop = world.alias("shop", &[me]).await;
    let abuse = world.alias("abuse", &[me]).await;
    world.owner("owner@org.test").await;
    let mut connection = world.pool.acquire().await.unwrap();
    destinations::set_catch_all(&mut connection, world.organization, world.domain, &[me])
        .await
        .unwrap();
    for id in [shop, abuse] {
        aliases::delete(&mut connection, world.organization, id).await.unwrap();
    }
    assert!(matches!(
        aliases::find(&world.pool, world.organization, shop).await,
        Err(Error::NotFound)
    ));
    assert_eq!(world.taker("shop").await.0, "nobody");
    assert_eq!(world.taker("shop+x").await.0, "nobody");
    assert_eq!(world.taker("abuse").await.0, "owner");
    assert!(world.try_alias("shop", &[me]).await.unwrap_err().violates(aliases::ADDRESS));
    assert!(!aliases::count_message(&world.pool, world.organization, shop).await.unwrap());
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_alias_counts_its_messages_and_stops_when_it_is_paused_expired_or_used_up(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let me = world.destination("me@home.test", true).await;
    let id = world.alias("twice", &[me]).await;
    let why = async || {
        let Resolution::Alias { alias, .. } = world.resolve("twice").await else {
            panic!()
        };
        alias.takes_mail(Utc::now())
    };
    world
        .change(
            id,
            AliasChange {
                max_messages: Some(Some(2)),
                ..AliasChange::default()
            },
        )
        .await;
    for wanted in [true, true, false] {
        assert_eq!(aliases::count_message(&world.pool, world.organization, id).await.unwrap(), wanted);
    }
    assert_eq!(why().await, Err(WhyNot::UsedUp));
    world
        .change(
            id,
            AliasChange {
                max_messages: Some(None),
                ..AliasChange::default()
            },
        )
        .await;
    assert_eq!(why().await, Ok(()));
    let expired = Some(Some(Utc::now() - Duration::seconds(1)));
    world
        .change(
            id,
            AliasChange {
                expires_at: expired,
                ..AliasChange::default()
            },
        )
        .await;
    assert_eq!(why().await, Err(WhyNot::Expired));
    world
        .change(
            id,
            AliasChange {
                state: Some(AliasState::Paused),
                ..AliasChange::default()
            },
        )
        .await;
    assert_eq!(why().await, Err(WhyNot::Paused));
    assert_eq!(aliases::find(&world.pool, world.organization, id).await.unwrap().message_count, 2);
    let other = OrganizationId::generate();
    assert!(!aliases::count_message(&world.pool, other, id).await.unwrap());
    // its owner is told once, and again when its limits have changed
    let told = async || aliases::tell_expired(&world.pool, 10).await.unwrap();
    assert_eq!((told().await, told().await), (1, 0));
    let used_up = AliasChange {
        max_messages: Some(Some(2)),
        expires_at: Some(None),
        ..AliasChange::default()
    };
    world.change(id, used_up).await;
    assert_eq!((told().await, told().await), (1, 0));
}

#[sqlx::test(migrations = "../../migrations")]
async fn many_aliases_change_at_once_by_filter_and_only_ones_own(pool: PgPool) {
    let world = World::new(pool.clone(), "mine.test").await;
    let other = World::new(pool, "theirs.test").await;
    let me = world.destination("me@home.test", true).await;
    let theirs = other.destination("me@home.test", true).await;
    for local_part in ["shop-a", "shop-b", "news"] {
        world.alias(local_part, &[me]).await;
        other.alias(local_part, &[theirs]).await;
    }
    let filter = AliasFilter {
        q: Some("SHOP".to_owned()),
        ..AliasFilter::default()
    };
    let mut connection = world.pool.acquire().await.unwrap();
    let paused = aliases::change_many(&mut connection, world.organization, &filter, Change::Pause)
        .await
        .unwrap();
    assert_eq!(paused.len(), 2);
    assert!(
        aliases::change_many(&mut connection, world.organization, &filter, Change::Pause)
            .await
            .unwrap()
            .is_empty()
    );
    let deleted = aliases::change_many(&mut connection, world.organization, &AliasFilter::default(), Change::Delete)
        .await
        .unwrap();
    assert_eq!(deleted.len(), 3);
    let left = aliases::list(&other.pool, other.organization, &AliasFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(left.len(), 3);
    assert!(
        left.iter()
            .all(|alias| alias.state == AliasState::Active && alias.destinations[0].id == theirs)
    );
    let kinds: Vec<String> = sqlx::query_scalar("select type from event where organization_id = $1 order by type")
        .bind(world.organization.0)
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(kinds.iter().filter(|kind| *kind == "alias.paused").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| *kind == "alias.deleted").count(), 3);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_destination_is_one_per_organization_confirmed_by_its_token_and_kept_while_in_use(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let me = world.destination("me@home.test", false).await;
    assert_eq!(world.destination("ME@home.test", false).await, me);
    let other = world.destination("other@home.test", false).await;
    assert_eq!(
        world.destination("other@home.test", true).await,
        other,
        "the operator has waived confirmation since"
    );
    let confirmed = async |id| {
        destinations::find(&world.pool, world.organization, id)
            .await
            .unwrap()
            .verified_at
            .is_some()
    };
    assert!(confirmed(other).await && !confirmed(me).await);
    let mut connection = world.pool.acquire().await.unwrap();
    for (id, hash) in [(me, &b"other"[..]), (DestinationId::generate(), b"hash")] {
        assert!(matches!(destinations::confirm(&world.pool, id, hash).await, Err(Error::NotFound)));
    }
    assert_eq!(
        destinations::renew_token(&world.pool, world.organization, me, b"new")
            .await
            .unwrap(),
        None,
        "mailed just now"
    );
    sqlx::query("update destination set verification_sent_at = now() - interval '2 minutes'")
        .execute(&world.pool)
        .await
        .unwrap();
    destinations::renew_token(&world.pool, world.organization, me, b"new")
        .await
        .unwrap()
        .unwrap();
    assert!(destinations::confirm(&world.pool, me, b"hash").await.is_err(), "the former token");
    sqlx::query("update destination set verification_sent_at = now() - interval '8 days'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(destinations::confirm(&world.pool, me, b"new").await.is_err(), "too old");
    sqlx::query("update destination set verification_sent_at = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(destinations::confirm(&world.pool, me, b"new").await.unwrap().verified_at.is_some());
    destinations::confirm(&world.pool, me, b"new").await.unwrap();
    let id = world.alias("shop", &[me]).await;
    assert!(
        destinations::delete(&mut connection, world.organization, me)
            .await
            .unwrap_err()
            .violates("destination_in_use")
    );
    aliases::delete(&mut connection, world.organization, id).await.unwrap();
    let redirect = serde_json::json!({ "action": { "type": "redirect", "destinations": ["me@home.test"] } });
    let rule = NewRule {
        scope: Scope::Organization,
        name: "r",
        position: None,
        enabled: true,
        definition: &redirect,
    };
    let rule = rules::insert(&world.pool, world.organization, rule).await.unwrap();
    assert!(destinations::delete(&mut connection, world.organization, me).await.is_err());
    rules::delete(&world.pool, world.organization, rule.id).await.unwrap();
    destinations::delete(&mut connection, world.organization, me).await.unwrap();
    assert!(matches!(
        destinations::delete(&mut connection, world.organization, me).await,
        Err(Error::NotFound)
    ));
}

#[sqlx::test(migrations = "../../migrations")]
async fn rules_come_from_the_narrowest_scope_outwards_each_in_its_order(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let (a, b) = (world.alias("a", &[]).await, world.alias("b", &[]).await);
    let definition = serde_json::json!({});
    let mut ids = Vec::new();
    for (name, scope, enabled) in [
        ("org-1", Scope::Organization, true),
        ("a-1", Scope::Alias(a), true),
        ("domain-1", Scope::Domain(world.domain), true),
        ("a-2", Scope::Alias(a), true),
        ("b-1", Scope::Alias(b), true),
        ("off", Scope::Alias(a), false),
    ] {
        let new = NewRule {
            scope,
            name,
            position: None,
            enabled,
            definition: &definition,
        };
        ids.push(rules::insert(&world.pool, world.organization, new).await.unwrap().id);
    }
    let asked = async |alias| {
        let rules = rules::for_recipient(&world.pool, world.organization, world.domain, alias)
            .await
            .unwrap();
        rules.into_iter().map(|rule| rule.name).collect::<Vec<_>>()
    };
    assert_eq!(asked(Some(a)).await, ["a-1", "a-2", "domain-1", "org-1"]);
    assert_eq!(asked(None).await, ["domain-1", "org-1"]);
    let mut connection = world.pool.acquire().await.unwrap();
    rules::reorder(&mut connection, world.organization, &[ids[3], ids[1]])
        .await
        .unwrap();
    assert_eq!(asked(Some(a)).await, ["a-2", "a-1", "domain-1", "org-1"]);
    assert!(
        rules::reorder(&mut connection, OrganizationId::generate(), &[ids[3]])
            .await
            .is_err()
    );
    let first = rules::list(&world.pool, world.organization, None, None, 2).await.unwrap();
    let rest = rules::list(&world.pool, world.organization, None, Some(first[1].id), 10)
        .await
        .unwrap();
    assert_eq!((first[0].id, first[1].id, rest.len()), (ids[3], ids[1], 4));
    rules::count_match(&world.pool, world.organization, ids[1]).await.unwrap();
    rules::count_match(&world.pool, OrganizationId::generate(), ids[1]).await.unwrap();
    let counted = rules::find(&world.pool, world.organization, ids[1]).await.unwrap();
    assert!(counted.match_count == 1 && counted.last_matched_at.is_some());
}

#[sqlx::test(migrations = "../../migrations")]
async fn sender_lists_answer_for_the_scopes_and_forms_that_fit(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let a = world.alias("a", &[]).await;
    for (scope, listing, sender) in [
        (Scope::Organization, SenderListing::Deny, "*.spam.test"),
        (Scope::Organization, SenderListing::Deny, "@other.test"),
        (Scope::Alias(a), SenderListing::Allow, "bob@x.spam.test"),
    ] {
        sender_lists::insert(&world.pool, world.organization, scope, listing, sender)
            .await
            .unwrap();
    }
    let twice = sender_lists::insert(
        &world.pool,
        world.organization,
        Scope::Organization,
        SenderListing::Allow,
        "@other.test",
    )
    .await;
    assert!(twice.unwrap_err().violates(sender_lists::ENTRY));
    let forms = sender_lists::forms_of("bob@x.spam.test");
    let found = async |alias| {
        let entries = sender_lists::for_recipient(&world.pool, world.organization, world.domain, alias, &forms)
            .await
            .unwrap();
        entries.into_iter().map(|entry| entry.listing).collect::<Vec<_>>()
    };
    assert_eq!(found(Some(a)).await, [SenderListing::Allow, SenderListing::Deny]);
    assert_eq!(found(None).await, [SenderListing::Deny]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_contact_has_one_reverse_address_that_leads_back_to_it(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let me = world.destination("me@home.test", true).await;
    let alias = world.alias("privacy", &[me]).await;
    let mut connection = world.pool.acquire().await.unwrap();
    let (bob, again) = ("Bob@stranger.test".parse().unwrap(), "bob@STRANGER.test".parse().unwrap());
    let (made, new) = contacts::find_or_insert(&mut connection, world.organization, alias, &bob, "Bob")
        .await
        .unwrap();
    let (same, known) = contacts::find_or_insert(&mut connection, world.organization, alias, &again, "")
        .await
        .unwrap();
    assert!(new && !known && made == same);
    let found = contacts::by_reverse(&world.pool, "mine.test", &made.reverse_local_part)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.address.as_str(), found.alias_address().as_str()),
        ("Bob@stranger.test", "privacy@mine.test")
    );
    assert_eq!((found.alias.id, found.destinations[0].address.as_str()), (alias, "me@home.test"));
    assert_eq!(
        contacts::by_reverse(&world.pool, "other.test", &made.reverse_local_part)
            .await
            .unwrap(),
        None
    );
    let stranger = OrganizationId::generate();
    assert!(contacts::find_or_insert(&mut connection, stranger, alias, &bob, "").await.is_err());
    assert!(contacts::list(&world.pool, stranger, alias, None, 10).await.unwrap().is_empty());
    aliases::delete(&mut connection, world.organization, alias).await.unwrap();
    assert_eq!(
        contacts::by_reverse(&world.pool, "mine.test", &made.reverse_local_part)
            .await
            .unwrap(),
        None
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_change_is_told_on_commit_and_counting_is_none(pool: PgPool) {
    let world = World::new(pool, "mine.test").await;
    let me = world.destination("me@home.test", true).await;
    let id = world.alias("shop", &[me]).await;
    let (ready, mut listening) = tokio::sync::mpsc::channel(16);
    let (heard, mut told) = tokio::sync::mpsc::channel(16);
    let pool = world.pool.clone();
    let listener = tokio::spawn(async move {
        changes::listen(
            &pool,
            || ready.try_send(()).unwrap(),
            |organization| heard.try_send(organization).unwrap(),
        )
        .await
    });
    listening.recv().await.unwrap();
    aliases::count_message(&world.pool, world.organization, id).await.unwrap();
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(200), told.recv())
            .await
            .is_err()
    );
    world
        .change(
            id,
            AliasChange {
                state: Some(AliasState::Paused),
                ..AliasChange::default()
            },
        )
        .await;
    assert_eq!(told.recv().await, Some(world.organization));
    listener.abort();
}
