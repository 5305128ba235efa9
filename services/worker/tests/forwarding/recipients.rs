//! Who takes mail for an address, and until when.

use crate::world::{AUTHORS, STRANGE, World, letter};
use futures_util::future::join_all;
use intake::Refusal;
use mail::Address;
use store::{PgPool, aliases, destinations, ids::DestinationId, models::AliasState};

async fn asked(world: &World, address: &str) -> Result<(), Refusal> {
    world.assembly.intake.recipient(&Address::parse(address).unwrap()).await
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_address_that_nobody_takes_is_refused_when_it_is_named(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    assert_eq!(asked(&world, "nobody@mine.test").await, Err(Refusal::NoSuchAddress));
    assert_eq!(
        asked(&world, "r+abcdefghijklmnopqrstuvwxyz@mine.test").await,
        Err(Refusal::NoSuchAddress)
    );
    for foreign in ["shop@elsewhere.test", "shop@sub.mine.test", "shop@[192.0.2.1]"] {
        assert!(matches!(asked(&world, foreign).await, Err(Refusal::NotHosted { .. })), "{foreign}");
    }
    for odd in [
        "shop%home.test@mine.test",
        "\"shop@home.test\"@mine.test",
        "home.test!shop@mine.test",
    ] {
        assert_eq!(asked(&world, odd).await, Err(Refusal::NoSuchAddress), "{odd}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn case_tags_and_repetition_do_not_make_a_second_copy(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("team", &["x@home.test", "y@home.test", "z@work.test"]).await;
    world.start();
    let to = ["TEAM+news@Mine.Test", "team+NEWS@mine.test", "Team+News@mine.test"];
    world.letter("bob@stranger.test", &to, "a").await.unwrap();
    let mut reached: Vec<String> = world.arrives("a", 2).await.into_iter().flat_map(|message| message.to).collect();
    reached.sort();
    assert_eq!(reached, ["x@home.test", "y@home.test", "z@work.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_alias_without_a_confirmed_destination_puts_mail_off(pool: PgPool) {
    let world = World::new(pool).await;
    let waiting = [world.destination("me@home.test", false).await];
    world.alias_with("shop", &[], |new| new.destinations = leak(&waiting)).await;
    assert_eq!(
        world.letter("bob@stranger.test", &["shop@mine.test"], "a").await,
        Err(Refusal::NoDestination)
    );
    world
        .run("update destination set verified_at = now() where id = $1", &[waiting[0].0], None)
        .await;
    assert!(world.letter("bob@stranger.test", &["shop@mine.test"], "a").await.is_ok());
}

#[sqlx::test(migrations = "../../migrations")]
async fn only_the_confirmed_destinations_of_an_alias_get_its_mail(pool: PgPool) {
    let world = World::new(pool).await;
    let both = [
        world.destination("new@home.test", false).await,
        world.destination("me@home.test", true).await,
    ];
    world.alias_with("shop", &[], |new| new.destinations = leak(&both)).await;
    world.letter("bob@stranger.test", &["shop@mine.test"], "a").await.unwrap();
    assert_eq!(world.deliveries().await, ["me@home.test queued -"]);
}

/// The closure's argument lives as long as the call: a test may leave a few ids behind.
fn leak(ids: &[DestinationId]) -> &'static [DestinationId] {
    Box::leak(ids.to_vec().into_boxed_slice())
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_catch_all_takes_what_no_alias_does_and_not_what_a_paused_one_refuses(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    let all = world.destination("all@home.test", true).await;
    let mut connection = world.pool.acquire().await.unwrap();
    destinations::set_catch_all(&mut connection, world.organization, world.domain, &[all])
        .await
        .unwrap();
    let change = aliases::AliasChange {
        state: Some(AliasState::Paused),
        ..aliases::AliasChange::default()
    };
    aliases::update(&mut connection, world.organization, shop, change).await.unwrap();
    drop(connection);
    world.start();
    world.letter("bob@stranger.test", &["anything@mine.test"], "a").await.unwrap();
    assert_eq!(world.arrives("a", 1).await[0].to, ["all@home.test"]);
    assert_eq!(asked(&world, "shop@mine.test").await, Err(Refusal::AliasClosed { reply: None }));
}

#[sqlx::test(migrations = "../../migrations")]
async fn postmaster_and_abuse_reach_the_owner_when_no_alias_takes_them(pool: PgPool) {
    let world = World::new(pool).await;
    world.start();
    let user = uuid::Uuid::now_v7();
    let statement = "insert into app_user (id, email, password_hash) values ($1, 'owner@home.test', 'x')";
    world.run(statement, &[user], None).await;
    let statement = "insert into membership (organization_id, user_id, role) values ($1, $2, 'owner')";
    world.run(statement, &[world.organization.0, user], None).await;
    for role in ["Postmaster@mine.test", "abuse@mine.test"] {
        world.letter("bob@stranger.test", &[role], role).await.unwrap();
        assert_eq!(world.arrives(role, 1).await[0].to, ["owner@home.test"]);
    }
    world.alias("abuse", &["desk@home.test"]).await;
    world.letter("bob@stranger.test", &["abuse@mine.test"], "b").await.unwrap();
    assert_eq!(world.arrives("b", 1).await[0].to, ["desk@home.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_limited_alias_takes_no_more_than_its_limit_and_what_was_under_way(pool: PgPool) {
    const CROWD: usize = 12;
    let world = World::new(pool).await;
    world.alias_with("twice", &["me@home.test"], |new| new.max_messages = Some(5)).await;
    for _ in 0..3 {
        world.letter("bob@stranger.test", &["twice@mine.test"], "a").await.unwrap();
    }
    let crowd = join_all((0..CROWD).map(|_| world.letter("bob@stranger.test", &["twice@mine.test"], "a"))).await;
    let taken = 3 + crowd.iter().filter(|taken| taken.is_ok()).count();
    let closed = Err(Refusal::AliasClosed { reply: None });
    assert!((5..=3 + CROWD).contains(&taken), "{taken}");
    assert!(crowd.iter().all(|taken| taken.is_ok() || *taken == closed), "{crowd:?}");
    // Every message that was taken is counted, and the next one finds the door closed.
    assert_eq!(world.number("select message_count::bigint from alias").await, taken as i64);
    assert_eq!(world.number("select count(*) from message").await, taken as i64);
    assert_eq!(world.letter("bob@stranger.test", &["twice@mine.test"], "a").await, closed);
}

#[sqlx::test(migrations = "../../migrations")]
async fn raw_octets_in_a_header_reach_a_server_that_knows_no_smtputf8(pool: PgPool) {
    let plain = testkit::sink::Behaviour::default().offering(&["PIPELINING", "8BITMIME"]);
    let world = World::behaving(pool, plain, |_| {}).await;
    world.alias("shop", &["me@home.test"]).await;
    world.start();
    let mut raw = letter("bob@stranger.test", "shop@mine.test", "a");
    raw.splice(0..0, *b"X-Name: Andr\xe9\r\n");
    world
        .receive(AUTHORS, "bob@stranger.test", &["shop@mine.test"], &raw)
        .await
        .unwrap();
    assert!(world.arrives("a", 1).await[0].data.ends_with(&raw));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_that_has_passed_too_many_hosts_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    let hop = "Received: from a by b; Fri, 20 Nov 2026 10:00:00 +0000\r\n";
    let raw = [hop.repeat(120).into_bytes(), letter("bob@stranger.test", "shop@mine.test", "a")].concat();
    let taken = world.receive(STRANGE, "bob@stranger.test", &["shop@mine.test"], &raw).await;
    assert!(matches!(taken, Err(Refusal::Loop { hops: 120 })), "{taken:?}");
}
