//! What is refused, and that nothing of it stays (ASSURANCE L01, A13, P5).

use crate::world::{COMPLETE, World};
use intake::{Arrival, Refusal};
use mail::{Address, Recipient, ReversePath};
use store::{PgPool, ids::OrganizationId};

#[sqlx::test(migrations = "../../migrations")]
async fn more_hops_than_allowed_are_a_loop_for_good(pool: PgPool) {
    // L01
    let world = World::new(pool).await;
    let hops = |count: usize| ["Received: from a by b\r\n".repeat(count).as_bytes(), COMPLETE].concat();
    assert!(world.accept(&hops(50)).await.is_ok());
    let refusal = world.accept(&hops(51)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Loop { hops: 51 });
    assert!(!refusal.is_temporary());
    assert_eq!(world.number("select count(*) from message").await, 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn only_verified_domains_of_ones_own_may_be_written_in_from_and_mail_from(pool: PgPool) {
    // A13, O29, O33
    let world = World::new(pool).await;
    let other = OrganizationId::generate();
    store::organizations::insert(&world.pool, other, "Other").await.unwrap();
    world.domain(other, "other.test", true).await;
    world.domain(world.organization, "pending.test", false).await;
    let refused = |domain: &str| Err(Refusal::DomainNotVerified { domain: domain.into() });
    for (mail_from, from, domain) in [
        ("app@other.test", "app@sender.test", "other.test"),
        ("app@sender.test", "app@other.test", "other.test"),
        ("app@sender.test", "ok@sender.test, app@pending.test", "pending.test"),
        ("app@pending.test", "app@sender.test", "pending.test"),
        ("", "app@other.test", "other.test"),
        ("app@sub.sender.test", "app@sender.test", "sub.sender.test"),
    ] {
        let mut letter = world.letter(format!("From: {from}\r\n\r\nx\r\n").as_bytes());
        letter.envelope.sender = ReversePath::parse(mail_from).unwrap();
        assert_eq!(world.intake.accept(letter).await, refused(domain), "{mail_from} {from}");
    }
    let mut narrow = world.letter(COMPLETE);
    narrow.sender.allowed_from = vec!["only@sender.test".into()];
    assert!(matches!(world.intake.accept(narrow).await, Err(Refusal::SenderNotAllowed { .. })));
    assert_eq!(
        world
            .number("select (select count(*) from message) + (select count(*) from queue)")
            .await,
        0
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_domain_verified_a_moment_ago_may_send_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let raw = b"From: app@new.test\r\n\r\nx\r\n";
    let letter = || {
        let mut letter = world.letter(raw);
        letter.envelope.sender = ReversePath::parse("app@new.test").unwrap();
        letter
    };
    world.domain(world.organization, "new.test", false).await;
    assert!(world.intake.accept(letter()).await.is_err());
    sqlx::query("update domain set status = 'active', verified_at = now() where name = 'new.test'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(world.intake.accept(letter()).await.is_ok());
}

#[sqlx::test(migrations = "../../migrations")]
async fn malformed_authorless_and_oversized_messages_are_refused_for_good_and_leave_nothing(pool: PgPool) {
    // D22, I01
    let world = World::new(pool).await;
    let mut from_nobody = world.letter(b"Subject: x\r\n\r\nx\r\n");
    from_nobody.envelope.sender = ReversePath::Null;
    assert_eq!(world.intake.accept(from_nobody).await, Err(Refusal::NoFrom));
    let mut crowd = world.letter(COMPLETE);
    crowd.envelope.recipients = (0..201)
        .map(|number| Recipient::new(Address::parse(&format!("r{number}@d.test")).unwrap()))
        .collect();
    assert_eq!(world.intake.accept(crowd).await, Err(Refusal::RecipientCount { limit: 200 }));
    assert_eq!(
        world.accept(&vec![b'x'; (1 << 20) + 1]).await,
        Err(Refusal::TooLarge { limit: 1 << 20 })
    );
    for raw in [
        &b"From: app@sender.test\r\nFrom: app@sender.test\r\n\r\nx\r\n"[..],
        b"From: app@sender.test\r\n\r\nbare\nline feed\r\n",
        b"From: app@sender.test\r\n\r\nbare\rreturn\r\n",
        b"From: app@sender.test\r\n\r\nnul\0\r\n",
        b"From: nobody at all\r\n\r\nx\r\n",
        b"From:\r\n\r\nx\r\n",
        b"From: <ceo@bank.test <app@sender.test>\r\n\r\nx\r\n",
        b"From: ceo@bank.test x@bank.test, app@sender.test\r\n\r\nx\r\n",
    ] {
        let refusal = world.accept(raw).await.unwrap_err();
        assert!(
            matches!(refusal, Refusal::Malformed(_)) && !refusal.is_temporary(),
            "{refusal:?} for {:?}",
            String::from_utf8_lossy(raw)
        );
    }
    assert_eq!(world.number("select count(*) from message").await, 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_recipient_named_twice_is_stored_once_and_a_suppressed_one_is_final_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    let mut connection = world.pool.acquire().await.unwrap();
    store::suppressions::insert(&mut connection, world.organization, "gone@d.test")
        .await
        .unwrap();
    drop(connection);
    let mut letter = world.letter(COMPLETE);
    letter.envelope.recipients = ["ann@d.test", "Gone@d.test", "ANN@d.test", "bob@e.test"]
        .map(|text| Recipient::new(Address::parse(text).unwrap()))
        .into();
    let accepted = world.intake.accept(letter).await.unwrap();
    let told: Vec<String> = accepted
        .recipients
        .iter()
        .map(|one| format!("{} {}", one.address, one.status))
        .collect();
    assert_eq!(told, ["ann@d.test queued", "Gone@d.test suppressed", "bob@e.test queued"]);
    assert_eq!(world.number("select count(*) from queue").await, 2);
}

#[sqlx::test(migrations = "../../migrations")]
async fn g29_nobody_speaks_with_two_voices_to_the_people_here(pool: PgPool) {
    let world = World::new(pool).await;
    let letter = world.letter(b"From: ann@a.test\r\nFrom: ceo@bank.test\r\n\r\nx\r\n");
    let arrival = Arrival {
        received: letter.received,
        envelope: letter.envelope,
        raw: letter.raw,
        trace_context: None,
        local: None,
    };
    let refusal = world.intake.receive(arrival).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed(_)) && !refusal.is_temporary(), "{refusal:?}");
}
