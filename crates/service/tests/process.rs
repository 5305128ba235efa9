//! Whole processes, as an orchestrator treats them. Each test starts this test program again as a service that does nothing.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use config::Service;
use service::{Context, healthcheck};
use sqlx::PgPool;
use std::{
    io::Read,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WORK: &str = "SERVICE_TEST_WORK";
const ARGUMENTS: &str = "SERVICE_TEST_ARGUMENTS";
const KEY: &str = "Zk3v9Qd7Wm1xT5pR8yLc2HbN6jGf4sUa";

fn variable(name: &str) -> Option<String> {
    std::env::vars_os()
        .find(|(known, _)| known == name)
        .and_then(|(_, value)| value.into_string().ok())
}

/// Not a test by itself: what the processes below run.
#[test]
fn child() {
    let Some(work) = variable(WORK) else {
        return;
    };
    let arguments = variable(ARGUMENTS).unwrap_or_default();
    let arguments = ["postroad-worker"].into_iter().chain(arguments.split_whitespace()).map(Into::into);
    let status = service::main_with_arguments(arguments, Service::Worker, "does nothing", move |context: Context| async move {
        tracing::info!("work begins");
        context.stop.cancelled().await;
        if work == "stubborn" {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    std::process::exit(if status == std::process::ExitCode::SUCCESS {
        0
    } else if status == std::process::ExitCode::from(2) {
        2
    } else {
        1
    });
}

struct Started {
    process: Child,
    ops: u16,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(work: &str, arguments: &str, database: &str, more: &[(&str, &str)]) -> Started {
    let ops = free_port();
    let process = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env_clear()
        .env(WORK, work)
        .env(ARGUMENTS, arguments)
        .env("DATABASE_URL", database)
        .env("POSTROAD_SECRET_KEY", KEY)
        .env("POSTROAD_OPS__LISTEN", format!("127.0.0.1:{ops}"))
        .envs(more.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Started { process, ops }
}

impl Started {
    fn signal(&self, name: &str) {
        assert!(
            // The shell's own: a small machine has no kill program.
            Command::new("sh")
                .args(["-c", &format!("kill {name} {}", self.process.id())])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Exit status and everything it wrote.
    fn end(mut self) -> (i32, String) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.process.kill().unwrap();
            }
            std::thread::yield_now();
        };
        let mut text = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (status.code().expect("it had to be killed"), text)
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.ops)).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }

    /// Asks until the answer contains the text.
    async fn until(&self, path: &str, expected: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(path).await.unwrap_or_default();
            if answer.contains(expected) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} never said {expected}, but:\n{answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The URL of the test's own database.
fn url(pool: &PgPool) -> String {
    let mut url = url::Url::parse(&variable("DATABASE_URL").unwrap()).unwrap();
    url.set_path(pool.connect_options().get_database().unwrap());
    url.into()
}

const SCHEMA_KNOWN: &str = r#"{"name":"schema","status":"healthy""#;

#[sqlx::test(migrations = "../../migrations")]
async fn a_service_starts_shows_its_health_and_stops_cleanly(pool: PgPool) {
    let started = start("good", "", &url(&pool), &[]);
    let ready = started.until("/readyz", SCHEMA_KNOWN).await;
    assert!(ready.contains(r#"{"name":"database","status":"healthy""#), "{ready}");
    assert!(started.get("/livez").await.unwrap().starts_with("HTTP/1.0 200"));
    assert!(
        started
            .get("/metrics")
            .await
            .unwrap()
            .contains("postroad_database_connections{state=\"idle\"}")
    );
    started.signal("-TERM");
    let (status, text) = started.end();
    assert_eq!(status, 0, "{text}");
    for expected in [
        "\"message\":\"work begins\"",
        "\"signal\":\"SIGTERM\"",
        "\"part\":\"postroad-worker\"",
        "\"message\":\"stopped\"",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
}

#[sqlx::test(migrations = false)]
async fn an_unmigrated_database_is_refused_with_the_cure(pool: PgPool) {
    let (status, text) = start("good", "", &url(&pool), &[]).end();
    assert_eq!(status, 1);
    assert!(text.contains("run `postroad migrate`") && !text.contains("work begins"), "{text}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_database_that_comes_late_is_waited_for(pool: PgPool) {
    let mut url = url::Url::parse(&url(&pool)).unwrap();
    let behind = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
    let port = free_port();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(port)).unwrap();
    let started = start("good", "", url.as_str(), &[("POSTROAD_DATABASE__ACQUIRE_TIMEOUT", "200ms")]);
    let red = started.until("/readyz", "503").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(red.contains(r#""name":"schema","status":"unhealthy""#), "{red}");
    assert!(
        started.get("/livez").await.unwrap().contains("200 OK"),
        "waiting is not a reason to be restarted"
    );

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let mut there = tokio::net::TcpStream::connect((behind.0.as_str(), behind.1)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
        }
    });
    started.until("/readyz", SCHEMA_KNOWN).await;
    started.signal("-INT");
    let (status, text) = started.end();
    assert_eq!(status, 0, "{text}");
    assert!(
        text.contains("the database does not answer") && text.contains("work begins"),
        "{text}"
    );
}

#[tokio::test]
async fn waiting_for_the_database_ends_with_a_signal() {
    let started = start("good", "", "postgres://u:sesame@127.0.0.1:1/none", &[]);
    started.until("/livez", "200").await;
    started.signal("-TERM");
    let (status, text) = started.end();
    assert_eq!(status, 0, "{text}");
    assert!(!text.contains("sesame"), "{text}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_part_that_does_not_finish_in_time_is_named(pool: PgPool) {
    let started = start("stubborn", "", &url(&pool), &[("POSTROAD_SHUTDOWN__GRACE", "500ms")]);
    started.until("/readyz", SCHEMA_KNOWN).await;
    started.signal("-TERM");
    let (status, text) = started.end();
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("postroad-worker did not finish within 500ms"), "{text}");
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_second_signal_ends_at_once(pool: PgPool) {
    let started = start("stubborn", "", &url(&pool), &[("POSTROAD_SHUTDOWN__GRACE", "10m")]);
    started.until("/readyz", SCHEMA_KNOWN).await;
    started.signal("-TERM");
    started.until("/readyz", "shutting down").await;
    started.signal("-INT");
    assert_eq!(started.end().0, 130);
}

#[test]
fn the_settings_are_checked_before_anything_starts() {
    let (status, text) = start("good", "--check-config", "postgres://u:sesame@db/x", &[]).end();
    assert_eq!(status, 0, "{text}");
    assert!(
        text.contains("POSTROAD_DELIVERY__MX_PORT = 25 (default)") && text.contains("is valid"),
        "{text}"
    );
    assert!(!text.contains("sesame") && !text.contains(KEY), "{text}");

    let wrong = [
        ("POSTROAD_DELIVERY__MX_PROT", "26"),
        ("POSTROAD_SECRET_KEY", "changeme"),
        ("POSTROAD_SHUTDOWN__GRACE", "soon"),
    ];
    let (status, text) = start("good", "", "postgres://db/x", &wrong).end();
    assert_eq!(status, 2, "{text}");
    for name in [
        "has 3 problems",
        "Did you mean POSTROAD_DELIVERY__MX_PORT?",
        "POSTROAD_SECRET_KEY = [redacted]",
        "POSTROAD_SHUTDOWN__GRACE",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    let (status, text) = start("good", "", "postgres://db/x", &[("RUST_LOG", "info,=,=")]).end();
    assert_eq!((status, text.contains("RUST_LOG")), (2, true), "{text}");
}

#[tokio::test]
async fn the_healthcheck_wants_a_200_soon() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let answer = match request[..length].split(|octet| *octet == b' ').nth(1) {
                Some(b"/readyz") => "HTTP/1.1 200 OK\r\n\r\n{}",
                Some(b"/garbage") => "220 mail.test ESMTP\r\n",
                _ => "HTTP/1.1 503 Service Unavailable\r\n\r\nred",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    healthcheck(&format!("{base}/readyz")).await.unwrap();
    let refused = healthcheck(&format!("{base}/other")).await.unwrap_err().to_string();
    assert!(refused.ends_with("answered 503: red"), "{refused}");
    assert!(
        healthcheck(&format!("{base}/garbage"))
            .await
            .unwrap_err()
            .to_string()
            .contains("did not answer in HTTP")
    );
    assert!(healthcheck("https://127.0.0.1/").await.is_err() && healthcheck("nonsense").await.is_err());
    assert!(healthcheck("http://127.0.0.1:1/").await.is_err());

    // A service's own readiness is the default: nobody listens there.
    let (status, text) = start("good", "healthcheck", "postgres://db/x", &[]).end();
    assert_eq!(status, 1);
    assert!(text.contains("/readyz: connecting"), "{text}");
}
