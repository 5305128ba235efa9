//! Replies as the alias: who may write to a reverse address, and what the correspondent gets to see.

use crate::world::{AUTHORS, STRANGE, World, field, letter, letter_with, text};
use intake::Refusal;
use mail::Address;
use store::{PgPool, contacts, ids::AliasId, models::RepliesAs};

/// The reverse address by which `alias` writes to this correspondent.
async fn reverse(world: &World, alias: AliasId, correspondent: &str) -> String {
    let mut connection = world.pool.acquire().await.unwrap();
    let address = Address::parse(correspondent).unwrap();
    let (contact, _) = contacts::find_or_insert(&mut connection, world.organization, alias, &address, "")
        .await
        .unwrap();
    contact.reverse_address()
}

/// `privacy@mine.test` for `me@home.test`, and its reverse address for Bob.
async fn privacy(pool: PgPool) -> (World, String) {
    let world = World::new(pool).await;
    let alias = world.alias("privacy", &["me@home.test"]).await;
    let reverse = reverse(&world, alias, "bob@stranger.test").await;
    world.start();
    (world, reverse)
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_reply_proven_by_spf_leaves_as_the_alias_and_hides_the_mailbox_everywhere(pool: PgPool) {
    let (world, reverse) = privacy(pool).await;
    let raw = format!(
        "Received: from laptop.home.test ([10.1.2.3]) by mx.home.test; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
         Return-Path: <me@home.test>\r\nDKIM-Signature: v=1; d=home.test; s=s; h=from; bh=AA; b=AA\r\n\
         From: Me Myself <me@home.test>\r\nSender: me@home.test\r\nReply-To: me@home.test\r\nTo: Bob <{reverse}>\r\nCc: spouse@home.test\r\n\
         Subject: re\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <77@home.test>\r\n\
         References: <1@stranger.test> <2@home.test>\r\nIn-Reply-To: <1@stranger.test>\r\nX-Originating-IP: 10.1.2.3\r\n\
         User-Agent: Mailer/1.0 (laptop.home.test)\r\nAutocrypt: addr=me@home.test; keydata=AA\r\nOrganization: home.test\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         hi bob\r\n\r\nOn Friday Bob <{}> wrote to me=40home.test:\r\n> hello\r\n",
        reverse.replace('@', "=40")
    );
    world.receive(AUTHORS, "me@home.test", &[&reverse], raw.as_bytes()).await.unwrap();
    let message = world.arrives("re", 1).await.remove(0);
    let said = text(&message);
    assert_eq!(
        (message.to.as_slice(), field(&message, "To").as_str()),
        (&["bob@stranger.test".to_owned()][..], "<bob@stranger.test>")
    );
    assert_eq!(field(&message, "From"), "<privacy@mine.test>");
    assert!(
        message.from.starts_with("b+") && message.from.ends_with("@mx.postroad.test"),
        "{}",
        message.from
    );
    assert!(
        message.mail.find("home.test").is_none() && field(&message, "DKIM-Signature").contains("d=mine.test"),
        "{said}"
    );
    assert_eq!(field(&message, "In-Reply-To"), "<1@stranger.test>");
    let local = reverse.split('@').next().unwrap();
    for private in ["home.test", "10.1.2.3", "Myself", "Mailer", local, "77@", "spouse"] {
        assert!(!said.contains(private), "{private} shows: {said}");
    }
    assert!(said.contains("hi bob") && said.contains("> hello"), "{said}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_reply_proven_by_dkim_may_come_from_anywhere(pool: PgPool) {
    let (world, reverse) = privacy(pool).await;
    let raw = world.sign("home.test", &letter("me@home.test", &reverse, "re"));
    world.receive(STRANGE, "bounces@list.test", &[&reverse], &raw).await.unwrap();
    assert_eq!(world.arrives("re", 1).await[0].to, ["bob@stranger.test"]);
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_text_of_from_shows_nothing(pool: PgPool) {
    let (world, reverse) = privacy(pool).await;
    let raw = letter("me@home.test", &reverse, "re");
    let forged = world.sign("stranger.test", &raw);
    let neighbour = letter("other@home.test", &reverse, "re");
    for (peer, sender, raw, what) in [
        (STRANGE, "me@home.test", &raw, "no proof"),
        (AUTHORS, "mallory@stranger.test", &raw, "SPF of another domain"),
        (STRANGE, "mallory@stranger.test", &forged, "DKIM of another domain"),
        (AUTHORS, "other@home.test", &neighbour, "another mailbox of the domain"),
        (AUTHORS, "me@home.test", &neighbour, "another author"),
        (AUTHORS, "", &raw, "no sender"),
    ] {
        assert_eq!(
            world.receive(peer, sender, &[&reverse], raw).await,
            Err(Refusal::ReplyNotProven),
            "{what}"
        );
    }
    assert_eq!(world.deliveries().await, Vec::<String>::new());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_mailbox_whose_domain_proves_nothing_cannot_reply(pool: PgPool) {
    let world = World::new(pool).await;
    let alias = world.alias("unproven", &["me@work.test"]).await;
    let reverse = reverse(&world, alias, "bob@stranger.test").await;
    let taken = world.letter("me@work.test", &[&reverse], "re").await;
    assert_eq!(taken, Err(Refusal::ReplyNotProven));
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_unproven_reply_is_not_swallowed_because_somebody_else_takes_the_message(pool: PgPool) {
    let (world, reverse) = privacy(pool).await;
    let taken = world.letter("carl@stranger.test", &["privacy@mine.test", &reverse], "re").await;
    assert_eq!((taken, world.deliveries().await), (Err(Refusal::ReplyNotProven), vec![]));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_reply_to_two_correspondents_reaches_each_without_the_other(pool: PgPool) {
    let (world, bob) = privacy(pool).await;
    let alias = sqlx::query_scalar("select id from alias").fetch_one(&world.pool).await.unwrap();
    let eve = reverse(&world, AliasId(alias), "eve@careful.test").await;
    let raw = letter_with("me@home.test", &format!("{bob}, {eve}"), "re", "");
    world.receive(AUTHORS, "me@home.test", &[&bob, &eve], &raw).await.unwrap();
    let arrived = world.arrives("re", 2).await;
    for message in &arrived {
        assert_eq!(field(message, "To"), format!("<{}>", message.to[0]));
        assert!(!text(message).contains("r+"), "{}", text(message));
    }
    assert_ne!(arrived[0].to, arrived[1].to);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_ordinary_reply_to_forwarded_mail_goes_round_and_the_answer_comes_back(pool: PgPool) {
    let world = World::new(pool).await;
    world
        .alias_with("shop", &["me@home.test"], |new| new.replies = RepliesAs::AsAlias)
        .await;
    world.start();
    world.letter("bob@stranger.test", &["shop@mine.test"], "ask").await.unwrap();
    let asked = world.arrives("ask", 1).await.remove(0);
    let reverse = mail::header::author(field(&asked, "From").as_bytes()).unwrap().to_string();
    world.letter("me@home.test", &[&reverse], "answer").await.unwrap();
    let answer = world.arrives("answer", 1).await.remove(0);
    assert_eq!(
        (answer.to.as_slice(), field(&answer, "From").as_str()),
        (&["bob@stranger.test".to_owned()][..], "<shop@mine.test>")
    );
    assert!(!text(&answer).contains("home.test"), "{}", text(&answer));
}
