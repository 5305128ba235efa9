//! HTTP endpoints as destinations: what is posted, what counts as taken, and who may be dialled.

use crate::world::{AUTHORS, World, milliseconds};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use store::PgPool;
use testkit::sink::Behaviour;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// A call as it came.
#[derive(Debug, Clone)]
struct Call {
    /// Lines of the head, in lower case but for their values.
    head: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.head.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Answers calls with these statuses in turn, the last one again and again.
struct Endpoint {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Endpoint {
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let seen = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).await.unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    if let Some((name, value)) = line.split_once(':') {
                        head.push((name.to_lowercase(), value.trim().to_owned()));
                    }
                }
                let mut call = Call { head, body: Vec::new() };
                call.body.resize(call.header("content-length").parse().unwrap(), 0);
                stream.read_exact(&mut call.body).await.unwrap();
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(call);
                    seen.len()
                };
                let answer = answers[count.min(answers.len()) - 1];
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, calls }
    }

    fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

/// Mail for an alias whose destination is this URL, when all is over; with the delivery's status and code.
async fn posted(pool: PgPool, url: &str) -> (World, Vec<String>) {
    let world = World::new(pool).await;
    world.alias("hook", &[url]).await;
    world.start();
    world.letter("bob@stranger.test", &["hook@mine.test"], "a").await.unwrap();
    world.settled().await;
    let ended = world
        .texts("select d.status || ' ' || coalesce(d.enhanced_code, '-') || ' ' || d.attempts from delivery d join message m on m.id = d.message_id where m.direction = 'forward'")
        .await;
    (world, ended)
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_message_is_posted_once_signed_and_whole(pool: PgPool) {
    let endpoint = Endpoint::start(&["204 No Content"]).await;
    let world = World::new(pool).await;
    world.alias("hook", &[&endpoint.url()]).await;
    world.start();
    let raw = b"From: Bob <bob@stranger.test>\r\nTo: hook@mine.test\r\nSubject: =?utf-8?Q?=C3=BC?=\r\nMessage-ID: <1@s.test>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        Gr\xfc\xdfe\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        AAEC\r\n--b--\r\n";
    let message = world.receive(AUTHORS, "bob@stranger.test", &["hook@mine.test"], raw).await.unwrap()[0];
    world.settled().await;
    let calls = endpoint.calls();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    let (id, timestamp) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    assert_eq!(id, format!("{message}.0"));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"signing secret").unwrap();
    mac.update(&[format!("{id}.{timestamp}.").as_bytes(), &call.body].concat());
    assert_eq!(
        call.header("webhook-signature"),
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    );
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    let data = &body["data"];
    assert_eq!(body["type"], "message.received");
    assert_eq!((&data["subject"], &data["recipient"]), (&"ü".into(), &"hook@mine.test".into()));
    assert_eq!(data["text"].as_str().unwrap().trim_end(), "Grüße");
    assert_eq!(data["attachments"][0]["filename"], "a.pdf");
    assert_eq!(data["attachments"][0]["content"], "AAEC");
    assert_eq!(world.sink.messages().len(), 0);
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_fault_of_the_endpoint_is_tried_again_under_the_same_id(pool: PgPool) {
    let endpoint = Endpoint::start(&["500 Oops", "503 Busy", "200 OK"]).await;
    let (_world, ended) = posted(pool, &endpoint.url()).await;
    assert_eq!(ended, ["delivered 2.0.0 3"]);
    let ids: Vec<String> = endpoint.calls().iter().map(|call| call.header("webhook-id").to_owned()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn gone_is_for_good_and_suppresses_nothing(pool: PgPool) {
    let endpoint = Endpoint::start(&["410 Gone"]).await;
    let (world, ended) = posted(pool, &endpoint.url()).await;
    assert_eq!((ended, endpoint.calls().len()), (vec!["bounced 5.2.1 1".to_owned()], 1));
    assert_eq!(world.number("select count(*) from suppression").await, 0);
    // The author hears of it, and not where the endpoint is.
    let told = world.sink.messages();
    let said = crate::world::text(&told[0]);
    assert!(
        told.len() == 1 && said.contains("hook@mine.test") && !said.contains("127.0.0.1"),
        "{said}"
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_redirect_is_not_followed(pool: PgPool) {
    let inner = Endpoint::start(&["200 OK"]).await;
    let location: &'static str = format!("307 Elsewhere\r\nLocation: {}", inner.url()).leak();
    let endpoint = Endpoint::start(vec![location, "200 OK"].leak()).await;
    let (_world, ended) = posted(pool, &endpoint.url()).await;
    assert_eq!(
        (ended, endpoint.calls().len(), inner.calls().len()),
        (vec!["delivered 2.0.0 2".to_owned()], 2, 0)
    );
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_private_address_is_not_dialled_by_number_or_by_name(pool: PgPool) {
    let endpoint = Endpoint::start(&["200 OK"]).await;
    let world = World::behaving(pool, Behaviour::default(), |config| {
        config.webhooks.allow_networks = Vec::new();
        config.delivery.retry_schedule = vec![milliseconds(100); 2];
        config.delivery.expire_after = std::time::Duration::from_secs(1);
    })
    .await;
    let port = endpoint.address.port();
    world.dns.a("inside.test", &["127.0.0.1"]);
    world.alias("number", &[&endpoint.url()]).await;
    world.alias("mapped", &[&format!("http://[::ffff:127.0.0.1]:{port}/in")]).await;
    world.alias("short", &[&format!("http://127.1:{port}/in")]).await;
    world.alias("name", &[&format!("http://inside.test:{port}/in")]).await;
    world.start();
    for local in ["number", "mapped", "short", "name"] {
        world
            .letter("bob@stranger.test", &[&format!("{local}@mine.test")], local)
            .await
            .unwrap();
    }
    world.settled().await;
    let mut ended = world
        .texts("select m.subject || ' ' || d.status || ' ' || d.enhanced_code from delivery d join message m on m.id = d.message_id where m.direction = 'forward' order by 1")
        .await;
    assert_eq!(endpoint.calls().len(), 0);
    assert_eq!(ended.remove(1), "name expired 4.4.7");
    assert_eq!(ended, ["mapped failed 5.4.4", "number failed 5.4.4", "short failed 5.4.4"]);
}
