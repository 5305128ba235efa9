//! The tools themselves: what a test sees of the sink is what was said to it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use testkit::{
    Client, Sink,
    certificates::Certificate,
    sink::{Behaviour, Reply},
};
use tokio::net::TcpStream;

async fn connect(sink: &Sink) -> Client<TcpStream> {
    let mut client = Client::new(TcpStream::connect(sink.address).await.unwrap());
    assert!(client.reply().await.starts_with("220 "));
    client
}

#[tokio::test]
async fn the_sink_keeps_the_bytes_of_data_and_bdat() {
    let sink = Sink::start().await;
    let mut client = connect(&sink).await;
    assert!(client.say("EHLO me.test").await.ends_with("250 ENHANCEDSTATUSCODES\r\n"));
    for body in [b"DATA\r\n..x\r\n.\r\n".as_slice(), b"BDAT 4 LAST\r\n.x\r\n"] {
        client
            .send(b"MAIL FROM:<a@a.test> SIZE=9\r\nRCPT TO:<b@b.test> NOTIFY=NEVER\r\n")
            .await;
        assert!(client.reply().await.starts_with("250 ") && client.reply().await.starts_with("250 "));
        client.send(body).await;
        let first = client.reply().await;
        assert!(first.starts_with("250 ") || (first.starts_with("354 ") && client.reply().await.starts_with("250 ")));
    }
    let messages = sink.wait(2).await;
    for message in &messages {
        assert_eq!(
            (message.data.as_slice(), message.from.as_str(), message.to[0].as_str()),
            (&b".x\r\n"[..], "a@a.test", "b@b.test")
        );
        assert_eq!(
            (message.mail.as_str(), message.helo.as_str(), message.tls),
            ("<a@a.test> SIZE=9", "me.test", false)
        );
    }
    assert_eq!((messages.len(), sink.connections()), (2, 1));
}

#[tokio::test]
async fn the_sink_is_strict_and_follows_its_script() {
    let script = Behaviour::scripted(|moment| match (moment.verb, moment.line) {
        ("RCPT", line) if line.contains("slow") => Reply::Line("450 4.2.1 later".into()),
        ("RCPT", line) if line.contains("gone") => Reply::Close,
        _ => Reply::Usual,
    });
    let sink = Sink::behaving(script.offering(&["SIZE 100"])).await;
    let mut client = connect(&sink).await;
    assert!(client.say("MAIL FROM:<a@a.test>").await.starts_with("503 "));
    client.say("EHLO me.test").await;
    assert!(client.say("MAIL FROM:<a@a.test> SMTPUTF8").await.starts_with("555 "));
    assert!(client.say("MAIL FROM:<a@a.test>").await.starts_with("250 "));
    assert!(client.say("RCPT TO:<slow@b.test>").await.starts_with("450 "));
    assert!(client.say("DATA").await.starts_with("503 "));
    assert!(client.say("RCPT TO:<b@b.test>").await.starts_with("250 "));
    client.say("DATA").await;
    assert!(client.say("bare\nline\r\n.").await.starts_with("554 "));
    assert!(client.say("MAIL FROM:<>").await.starts_with("250 "));
    assert_eq!(client.say("RCPT TO:<gone@b.test>").await, "");
    assert!(sink.messages().is_empty());
}

#[tokio::test]
async fn the_sink_speaks_tls_with_a_certificate_of_ours() {
    let certificate = Certificate::for_names(&["sink.test"]);
    let sink = Sink::behaving(Behaviour::default().with_tls(certificate.server())).await;
    let mut client = connect(&sink).await;
    assert!(client.say("EHLO me.test").await.contains("250 STARTTLS"));
    assert!(client.say("STARTTLS").await.starts_with("220 "));
    let connector = tokio_rustls::TlsConnector::from(certificate.client());
    let tls = connector
        .connect("sink.test".try_into().unwrap(), client.into_inner())
        .await
        .unwrap();
    let mut client = Client::new(tls);
    assert!(!client.say("EHLO me.test").await.contains("STARTTLS"));
    for line in ["MAIL FROM:<a@a.test>", "RCPT TO:<b@b.test>", "DATA", "x\r\n."] {
        assert!(client.say(line).await.starts_with(['2', '3']), "{line}");
    }
    assert!(sink.wait(1).await[0].tls);
}
