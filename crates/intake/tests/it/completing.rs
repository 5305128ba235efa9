//! What is added and removed on the way in, and that nothing else is touched (RFC 6409 §8, I05, L11, V5).

use crate::world::{COMPLETE, HOSTNAME, World};
use store::PgPool;

#[sqlx::test(migrations = "../../migrations")]
async fn a_complete_message_gets_one_received_field_and_keeps_every_byte(pool: PgPool) {
    let world = World::new(pool).await;
    let odd = b"SUBJECT :no\r\nsubject: a  b\t\r\n  folded\r\nFrom: app@sender.test\r\nDATE: x\r\nmessage-id: <q@sender.test>\r\nX-\xff: \xc3\xa9\r\n\r\n\r\n.\r\n trailing \t\r\n\r\n";
    for raw in [COMPLETE, odd] {
        let message = world.accept(raw).await.unwrap().message;
        let ours = world.ours_before(message, raw).await;
        let fields: Vec<&str> = ours
            .split("\r\n")
            .filter(|line| !line.is_empty() && !line.starts_with(['\t', ' ']))
            .collect();
        assert_eq!(fields.len(), 1, "{ours}");
        for wanted in [
            "Received: from client.test",
            &format!("by {HOSTNAME}"),
            "with ESMTPSA",
            &message.to_string(),
            "for <ann@d.test>",
        ] {
            assert!(ours.replace("\r\n\t", " ").contains(wanted), "{wanted} is not in {ours}");
        }
        assert!(
            !ours.contains("203.0.113.9"),
            "a submission does not tell where its author sits: {ours}"
        );
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn date_message_id_and_from_are_added_when_they_are_missing(pool: PgPool) {
    let world = World::new(pool).await;
    let raw = b"Subject: bare\r\n\r\nbody\r\n";
    let message = world.accept(raw).await.unwrap().message;
    let ours = world.ours_before(message, raw).await;
    let header = mail::header::Headers::scan(ours.as_bytes());
    let names: Vec<String> = header.iter().map(|field| String::from_utf8(field.name.to_vec()).unwrap()).collect();
    assert_eq!(names, ["Received", "Date", "Message-ID", "From"]);
    assert_eq!(header.first("From").unwrap().text(), "<app@sender.test>");
    assert_eq!(header.first("Message-ID").unwrap().text(), format!("<{message}@{HOSTNAME}>"));
    let stored: (String, String, String) = sqlx::query_as("select header_from, message_id_header, subject from message")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(stored, ("app@sender.test".into(), format!("<{message}@{HOSTNAME}>"), "bare".into()));
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_body_without_any_header_is_still_a_body(pool: PgPool) {
    // G28
    let world = World::new(pool).await;
    for raw in [&b"just words, no colon\r\n"[..], b"\r\nbody\r\n", b""] {
        let message = world.accept(raw).await.unwrap().message;
        let stored = store::messages::content(&world.pool, world.organization, message).await.unwrap();
        let header = mail::header::Headers::scan(&stored);
        assert_eq!(header.count("From"), 1);
        let body = raw.strip_prefix(b"\r\n").unwrap_or(raw);
        assert_eq!(&stored[header.body_offset()..], body, "{}", String::from_utf8_lossy(&stored));
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_is_not_for_the_recipient_is_removed_and_nothing_else(pool: PgPool) {
    // I05
    let world = World::new(pool).await;
    let raw = b"bcc: secret@d.test,\r\n\tother@d.test\r\nFrom: app@sender.test\r\nBCC : third@d.test\r\nPostroad-Idempotency-Key: k\r\nReturn-Path: <x@y.test>\r\n\
        Date: x\r\nX-Bcc: stays\r\nMessage-ID: <1@sender.test>\r\n\r\nBcc: in the body stays\r\n";
    let message = world.accept(raw).await.unwrap().message;
    let kept = b"From: app@sender.test\r\nDate: x\r\nX-Bcc: stays\r\nMessage-ID: <1@sender.test>\r\n\r\nBcc: in the body stays\r\n";
    let ours = world.ours_before(message, kept).await;
    assert!(
        !ours.contains("secret@") && !ours.contains("other@") && !ours.contains("third@"),
        "{ours}"
    );
}
