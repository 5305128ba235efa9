//! When From changes, and what becomes of mail that fails DMARC: the tables of docs/forwarding.md, a test a row.

use crate::world::{AUTHORS, STRANGE, World, field, letter, letter_with, text};
use intake::Refusal;
use serde_json::json;
use store::{PgPool, ids::MessageId, models::RepliesAs};
use testkit::sink::Message;

/// Mail for `shop@mine.test` from this author and server, as it arrives.
async fn arrived(pool: PgPool, server: std::net::IpAddr, from: &str) -> (World, Message) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    world.start();
    let raw = letter(&format!("Eve <{from}>"), "shop@mine.test", "d");
    world.receive(server, from, &["shop@mine.test"], &raw).await.unwrap();
    let message = world.arrives("d", 1).await.remove(0);
    (world, message)
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_authors_own_signature_keeps_from_as_it_came(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    world.start();
    let raw = world.sign("strict.test", &letter("Eve <eve@strict.test>", "shop@mine.test", "d"));
    world.receive(AUTHORS, "eve@strict.test", &["shop@mine.test"], &raw).await.unwrap();
    let message = world.arrives("d", 1).await.remove(0);
    assert!(message.data.ends_with(&raw), "{}", text(&message));
    let results = field(&message, "Authentication-Results");
    for word in ["mx.postroad.test;", "spf=pass", "dkim=pass", "dmarc=pass"] {
        assert!(results.contains(word), "{word}: {results}");
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_passes_by_spf_alone_under_reject_leaves_with_a_from_of_ours(pool: PgPool) {
    let (_world, message) = arrived(pool, AUTHORS, "eve@strict.test").await;
    assert_eq!(field(&message, "From"), "\"Eve (eve at strict.test)\" <shop@mine.test>");
    assert_eq!(field(&message, "Reply-To"), "Eve <eve@strict.test>");
    assert!(field(&message, "DKIM-Signature").contains("d=mine.test"), "{}", text(&message));
    // The envelope's sender is a return path of ours.
    assert!(
        message.from.starts_with("b+") && message.from.ends_with("@mx.postroad.test"),
        "{}",
        message.from
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_passes_by_spf_alone_under_quarantine_leaves_with_a_from_of_ours(pool: PgPool) {
    let (_world, message) = arrived(pool, AUTHORS, "eve@careful.test").await;
    assert_eq!(field(&message, "From"), "\"Eve (eve at careful.test)\" <shop@mine.test>");
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_passes_by_spf_alone_under_none_leaves_as_it_came(pool: PgPool) {
    let (_world, message) = arrived(pool, AUTHORS, "eve@stranger.test").await;
    assert!(message.data.ends_with(&letter("Eve <eve@stranger.test>", "shop@mine.test", "d")));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_failure_under_none_leaves_as_it_came(pool: PgPool) {
    let (_world, message) = arrived(pool, STRANGE, "eve@stranger.test").await;
    assert!(message.data.ends_with(&letter("Eve <eve@stranger.test>", "shop@mine.test", "d")));
    assert!(
        field(&message, "Authentication-Results").contains("dmarc=fail"),
        "{}",
        text(&message)
    );
}

/// What became of a spoof of `from` under this `dmarc_fail`, and the deliveries that were stored.
async fn spoofed(pool: PgPool, from: &str, policy: &'static str) -> (Result<Vec<MessageId>, Refusal>, Vec<String>, World) {
    let world = World::new(pool).await;
    let statement = "update domain set dmarc_fail = $2::text::dmarc_failure where id = $1";
    world.run(statement, &[world.domain.0], Some(policy)).await;
    world.alias("shop", &["me@home.test"]).await;
    let raw = letter(from, "shop@mine.test", "d");
    let taken = world.receive(STRANGE, from, &["shop@mine.test"], &raw).await;
    (taken, world.deliveries().await, world)
}

fn refused(domain: &str) -> Result<Vec<MessageId>, Refusal> {
    Err(Refusal::DmarcFailed { domain: domain.into() })
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_failure_under_reject_is_refused_and_nothing_is_stored(pool: PgPool) {
    let (taken, stored, _) = spoofed(pool, "ceo@strict.test", "as_published").await;
    assert_eq!((taken, stored), (refused("strict.test"), vec![]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_failure_under_quarantine_is_set_aside(pool: PgPool) {
    let (taken, stored, world) = spoofed(pool, "ceo@careful.test", "as_published").await;
    assert!(taken.is_ok());
    assert_eq!(stored, ["me@home.test quarantined -"]);
    assert_eq!(world.number("select count(*) from queue").await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_that_accepts_failures_forwards_them_unchanged(pool: PgPool) {
    let (taken, _, world) = spoofed(pool, "ceo@strict.test", "accept").await;
    assert!(taken.is_ok());
    world.start();
    let message = world.arrives("d", 1).await.remove(0);
    assert!(
        message.data.ends_with(&letter("ceo@strict.test", "shop@mine.test", "d")),
        "{}",
        text(&message)
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_that_quarantines_failures_does_so_under_reject_and_none(pool: PgPool) {
    let (taken, stored, world) = spoofed(pool, "ceo@strict.test", "quarantine").await;
    assert!(taken.is_ok());
    assert_eq!(stored, ["me@home.test quarantined -"]);
    let raw = letter("ceo@stranger.test", "shop@mine.test", "d");
    world
        .receive(STRANGE, "ceo@stranger.test", &["shop@mine.test"], &raw)
        .await
        .unwrap();
    assert_eq!(world.deliveries().await, ["me@home.test quarantined -"; 2]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_that_refuses_failures_does_so_under_none(pool: PgPool) {
    let (taken, stored, _) = spoofed(pool, "ceo@stranger.test", "refuse").await;
    assert_eq!((taken, stored), (refused("stranger.test"), vec![]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_name_server_that_is_silent_is_nobodys_proof(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    world.dns.fail("_dmarc.strict.test");
    let raw = letter("eve@strict.test", "shop@mine.test", "d");
    world.receive(STRANGE, "eve@strict.test", &["shop@mine.test"], &raw).await.unwrap();
    world.start();
    let message = world.arrives("d", 1).await.remove(0);
    assert!(message.data.ends_with(&raw), "{}", text(&message));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_alias_that_answers_as_itself_shows_a_reverse_address_and_no_other_way_to_answer(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .alias_with("shop", &["me@home.test"], |new| new.replies = RepliesAs::AsAlias)
        .await;
    world.start();
    for (from, more) in [
        ("bob@stranger.test", ""),
        ("eve@strict.test", "Reply-To: <other@stranger.test>\r\n"),
    ] {
        let raw = letter_with(&format!("Bob <{from}>"), "shop@mine.test", from, more);
        world.receive(AUTHORS, from, &["shop@mine.test"], &raw).await.unwrap();
        let message = world.arrives(from, 1).await.remove(0);
        let shown = field(&message, "From");
        let named = format!("\"Bob ({})\" <r+", from.replace('@', " at "));
        assert!(shown.starts_with(&named) && shown.ends_with("@mine.test>"), "{shown}");
        assert_eq!(field(&message, "Reply-To"), "", "an ordinary reply would not leave as the alias");
    }
    // The reply goes to whom the author named for that.
    let contacts = world.texts("select address from contact order by 1").await;
    assert_eq!(contacts, ["bob@stranger.test", "other@stranger.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_spoof_is_not_given_a_from_of_ours_by_an_alias_that_answers_as_itself(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .alias_with("shop", &["me@home.test"], |new| new.replies = RepliesAs::AsAlias)
        .await;
    world.start();
    let raw = letter("Bank <bank@stranger.test>", "shop@mine.test", "d");
    world
        .receive(STRANGE, "bank@stranger.test", &["shop@mine.test"], &raw)
        .await
        .unwrap();
    let message = world.arrives("d", 1).await.remove(0);
    assert!(message.data.ends_with(&raw), "{}", text(&message));
    assert_eq!(world.number("select count(*) from contact").await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_forged_result_under_our_name_is_removed_and_the_true_one_is_kept_with_the_message(pool: PgPool) {
    let world = World::new(pool).await;
    world.alias("shop", &["me@home.test"]).await;
    world.start();
    let forged =
        "Authentication-Results: mx.postroad.test; dmarc=pass header.from=forged.test\r\nAuthentication-Results: other.test; spf=fail\r\n";
    let raw = letter_with("eve@stranger.test", "shop@mine.test", "d", forged);
    world
        .receive(STRANGE, "eve@stranger.test", &["shop@mine.test"], &raw)
        .await
        .unwrap();
    let said = text(&world.arrives("d", 1).await[0]);
    assert!(
        !said.contains("forged.test") && said.contains("Authentication-Results: other.test; spf=fail"),
        "{said}"
    );
    let kept: serde_json::Value = sqlx::query_scalar("select verdicts from message")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!((&kept["spf"]["result"], &kept["dmarc"]["result"]), (&json!("fail"), &json!("fail")));
}
