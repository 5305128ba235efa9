//! Who decides, in which order: sender lists, DMARC, rules; and what their decisions come to.

use crate::world::{STRANGE, World, field, letter};
use intake::Refusal;
use serde_json::{Value, json};
use store::{
    PgPool,
    models::SenderListing::{self, Allow, Deny},
    rules::Scope,
    sender_lists,
};

const BLOCKED: Refusal = Refusal::Blocked { reply: None };

async fn list(world: &World, scope: Scope, listing: SenderListing, sender: &str) {
    sender_lists::insert(&world.pool, world.organization, scope, listing, sender)
        .await
        .unwrap();
}

fn about(subject: &str) -> Value {
    json!([{ "field": "subject", "op": "contains", "value": subject }])
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_narrower_list_decides_and_an_allowed_sender_skips_the_rules(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    world.alias("other", &["me@home.test"]).await;
    world
        .rule(Scope::Organization, json!([]), json!({ "type": "block", "reply": "a rule" }))
        .await;
    list(&world, Scope::Organization, Deny, "@stranger.test").await;
    list(&world, Scope::Alias(shop), Allow, "bob@stranger.test").await;
    assert!(world.letter("bob@stranger.test", &["shop@mine.test"], "a").await.is_ok());
    assert_eq!(world.letter("bob@stranger.test", &["other@mine.test"], "a").await, Err(BLOCKED));
    assert_eq!(world.letter("carl@stranger.test", &["shop@mine.test"], "a").await, Err(BLOCKED));
    let by_rule = Refusal::Blocked {
        reply: Some("a rule".into()),
    };
    assert_eq!(world.letter("eve@home.test", &["shop@mine.test"], "a").await, Err(by_rule));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_allowed_sender_does_not_skip_dmarc_and_neither_does_a_rule(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    list(&world, Scope::Alias(shop), Allow, "ceo@strict.test").await;
    world.rule(Scope::Alias(shop), json!([]), json!({ "type": "forward" })).await;
    let raw = letter("ceo@strict.test", "shop@mine.test", "a");
    let taken = world.receive(STRANGE, "ceo@strict.test", &["shop@mine.test"], &raw).await;
    let refused = Refusal::DmarcFailed {
        domain: "strict.test".into(),
    };
    assert_eq!(taken, Err(refused));
    // A denied sender is refused before anybody asks for DMARC.
    list(&world, Scope::Domain(world.domain), Deny, "*.test").await;
    let raw = letter("ceo@a.careful.test", "shop@mine.test", "a");
    assert_eq!(
        world.receive(STRANGE, "ceo@a.careful.test", &["shop@mine.test"], &raw).await,
        Err(BLOCKED)
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_aliass_rules_come_before_the_domains_and_the_organizations(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    let block = |reply: &str| json!({ "type": "block", "reply": reply });
    world.rule(Scope::Organization, json!([]), block("organization")).await;
    world.rule(Scope::Domain(world.domain), about("domain"), block("domain")).await;
    world.rule(Scope::Alias(shop), about("alias"), block("alias")).await;
    world
        .rule(Scope::Alias(shop), about("alias"), block("the second of the alias"))
        .await;
    for (subject, reply) in [("alias domain", "alias"), ("a domain", "domain"), ("neither", "organization")] {
        let refused = Refusal::Blocked { reply: Some(reply.into()) };
        assert_eq!(world.letter("bob@stranger.test", &["shop@mine.test"], subject).await, Err(refused));
    }
    // Each decision is counted, though nothing was stored.
    let counts = world.texts("select match_count::text from rule order by position").await;
    assert_eq!(
        (counts, world.deliveries().await),
        (["1", "1", "1", "0"].map(String::from).to_vec(), vec![])
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_discarded_or_set_aside_is_taken_and_goes_nowhere(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    world.rule(Scope::Alias(shop), about("junk"), json!({ "type": "discard" })).await;
    world.rule(Scope::Alias(shop), about("odd"), json!({ "type": "quarantine" })).await;
    world.start();
    for subject in ["junk", "odd", "good"] {
        world.letter("bob@stranger.test", &["shop@mine.test"], subject).await.unwrap();
    }
    world.arrives("good", 1).await;
    assert_eq!(world.sink.messages().len(), 1);
    let stored = world
        .texts("select m.subject || ' ' || d.status from message m join delivery d on d.message_id = m.id order by 1")
        .await;
    assert_eq!(stored, ["good delivered", "junk discarded", "odd quarantined"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_redirect_goes_to_its_destination_alone(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    world.destination("archive@work.test", true).await;
    world
        .rule(
            Scope::Alias(shop),
            about("big"),
            json!({ "type": "redirect", "destinations": ["Archive@work.test"] }),
        )
        .await;
    world.start();
    world.letter("bob@stranger.test", &["shop@mine.test"], "big").await.unwrap();
    assert_eq!(world.arrives("big", 1).await[0].to, ["archive@work.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_redirect_to_an_unconfirmed_destination_is_put_off_for_everybody(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    world.alias("other", &["me@home.test"]).await;
    let archive = world.destination("archive@work.test", false).await;
    world
        .rule(
            Scope::Alias(shop),
            json!([]),
            json!({ "type": "redirect", "destinations": [archive.to_string()] }),
        )
        .await;
    for to in [&["shop@mine.test"][..], &["other@mine.test", "shop@mine.test"]] {
        let refused = world.letter("bob@stranger.test", to, "a").await.unwrap_err();
        assert!(refused == Refusal::NoDestination && refused.is_temporary(), "{refused:?}");
    }
    assert_eq!(
        world.deliveries().await,
        Vec::<String>::new(),
        "nobody would get the other's copy twice"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn one_blocked_recipient_of_two_is_recorded_and_the_other_gets_the_message(pool: PgPool) {
    let world = World::new(pool).await;
    let shop = world.alias("shop", &["me@home.test"]).await;
    world.alias("other", &["you@home.test"]).await;
    world.rule(Scope::Alias(shop), json!([]), json!({ "type": "block" })).await;
    world.start();
    world
        .letter("bob@stranger.test", &["shop@mine.test", "other@mine.test"], "a")
        .await
        .unwrap();
    let message = world.arrives("a", 1).await.remove(0);
    assert_eq!(message.to, ["you@home.test"]);
    assert!(
        field(&message, "Received").contains("for <other@mine.test>"),
        "{}",
        field(&message, "Received")
    );
    assert_eq!(
        world.deliveries().await,
        ["me@home.test blocked -", "you@home.test delivered 2.0.0"]
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_that_every_recipient_blocks_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    world.alias("other", &["you@home.test"]).await;
    world
        .rule(
            Scope::Domain(world.domain),
            json!([]),
            json!({ "type": "block", "reply": "no, thanks" }),
        )
        .await;
    let taken = world.letter("bob@stranger.test", &["shop@mine.test", "other@mine.test"], "a").await;
    let reply = Some("no, thanks".into());
    assert_eq!((taken, world.deliveries().await), (Err(Refusal::Blocked { reply }), vec![]));
}
