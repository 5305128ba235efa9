//! Which return paths are believed (ASSURANCE O27, 2.7).

use crate::world::{COMPLETE, HOSTNAME, KEY, World};
use intake::Refusal;
use mail::{Address, return_path::ReturnPaths};
use store::{PgPool, ids::MessageId};

fn address(local_part: &str, domain: &str) -> Address {
    Address::parse(&format!("{local_part}@{domain}")).unwrap()
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_return_path_of_a_message_of_ours_is_known_on_our_names_only(pool: PgPool) {
    let world = World::new(pool).await;
    let message = world.accept(COMPLETE).await.unwrap().message;
    let token = ReturnPaths::new(KEY).encode(*message.0.as_bytes(), 0);
    for domain in [HOSTNAME, "rp.sender.test", "sender.test"] {
        assert!(
            matches!(world.intake.bounce_target(&address(&token, domain)).await, Ok(Some(_))),
            "{domain}"
        );
        assert!(
            matches!(
                world.intake.bounce_target(&address(&token.to_uppercase(), domain)).await,
                Ok(Some(_))
            ),
            "{domain}"
        );
    }
    for (local_part, domain) in [(token.as_str(), "elsewhere.test"), ("b+someone", "sender.test"), ("ann", HOSTNAME)] {
        assert_eq!(
            world.intake.bounce_target(&address(local_part, domain)).await,
            Ok(None),
            "{local_part} {domain}"
        );
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn forged_expired_unknown_and_settled_return_paths_are_refused(pool: PgPool) {
    // O27
    let world = World::new(pool).await;
    let message = world.accept(COMPLETE).await.unwrap().message;
    let ours = ReturnPaths::new(KEY);
    let genuine = ours.encode(*message.0.as_bytes(), 0);
    let mut altered = genuine.clone();
    let last = if altered.pop() == Some('a') { 'b' } else { 'a' };
    altered.push(last);
    let aged = |days: i64| {
        let at = chrono::Utc::now() - chrono::Duration::days(days);
        let milliseconds = u64::try_from(at.timestamp_millis()).unwrap();
        let mut octets = [0x70; 16];
        octets[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        octets
    };
    // An old message that is still on record, so that only its age can speak against it.
    for days in [29, 31] {
        let id = aged(days);
        sqlx::query("update delivery set message_id = $1")
            .bind(uuid::Uuid::from_bytes(id))
            .execute(&world.pool)
            .await
            .unwrap();
        let answer = world.intake.bounce_target(&address(&ours.encode(id, 0), HOSTNAME)).await;
        assert_eq!(answer.is_ok(), days == 29, "{days} days: {answer:?}");
    }
    sqlx::query("update delivery set message_id = $1")
        .bind(message.0)
        .execute(&world.pool)
        .await
        .unwrap();
    assert!(world.intake.bounce_target(&address(&genuine, HOSTNAME)).await.is_ok());
    let stranger = ReturnPaths::new(b"another key").encode(*message.0.as_bytes(), 0);
    let unknown = ours.encode(*MessageId::generate().0.as_bytes(), 0);
    let other_destination = ours.encode(*message.0.as_bytes(), 1);
    for (what, token) in [
        ("forged", &altered),
        ("another key", &stranger),
        ("unknown", &unknown),
        ("destination", &other_destination),
    ] {
        assert_eq!(
            world.intake.bounce_target(&address(token, HOSTNAME)).await,
            Err(Refusal::InvalidReturnPath),
            "{what}"
        );
    }
    sqlx::query("update delivery set status = 'bounced', finished_at = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        world.intake.bounce_target(&address(&genuine, HOSTNAME)).await,
        Err(Refusal::InvalidReturnPath),
        "settled"
    );
    assert!(!Refusal::InvalidReturnPath.is_temporary());
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_return_path_ages_from_the_day_its_mail_left(pool: PgPool) {
    let world = World::new(pool).await;
    world.accept(COMPLETE).await.unwrap();
    let minted = chrono::Utc::now() - chrono::Duration::days(200);
    let mut id = [0x70; 16];
    id[..6].copy_from_slice(&minted.timestamp_millis().to_be_bytes()[2..]);
    let path = address(&ReturnPaths::new(KEY).encode(id, 0), HOSTNAME);
    for (left_before, believed) in [("29 days", true), ("31 days", false)] {
        sqlx::query("update delivery set message_id = $1, status = 'delivered', finished_at = now() - $2::text::interval")
            .bind(uuid::Uuid::from_bytes(id))
            .bind(left_before)
            .execute(&world.pool)
            .await
            .unwrap();
        let answer = world.intake.bounce_target(&path).await;
        assert_eq!(matches!(answer, Ok(Some(_))), believed, "{left_before}: {answer:?}");
    }
}
