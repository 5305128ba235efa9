//! Against a real server of our own: the script is the pure function, and a server that dies is neither noticed for long nor missed.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use proptest::{
    prelude::{Strategy, prop},
    test_runner::{Config as Runs, TestRunner},
};
use rate_limit::{Limiter, Quota, RedisSettings, gcra::decide};
use redis::Commands;
use std::{
    cell::{Cell, RefCell},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port)
    }

    fn start_on(port: u16) -> Self {
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need redis-server on the PATH: apt-get install redis-server");
        let server = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.connection().is_none() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::yield_now();
        }
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connection(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok().map(|_| connection)
    }

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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn limiter(server: &Server) -> Limiter {
    // Longer than in production, so that a busy machine is not mistaken for a dead server.
    Limiter::redis(RedisSettings {
        url: &server.url(),
        max_connections: 4,
        timeout: Duration::from_secs(2),
    })
    .unwrap()
}

#[test]
fn the_script_is_the_pure_function() {
    let server = Server::start();
    let connection = RefCell::new(server.connection().unwrap());
    let script = redis::Script::new(include_str!("../src/gcra.lua"));
    let quotas = (0u32..2_000, 1u64..400_000_000).prop_map(|(limit, per_ms)| Quota::new(limit, Duration::from_millis(per_ms)));
    let strategy = (
        quotas,
        prop::collection::vec(0u32..60, 1..12),
        prop::option::of(-5_000_000_000i64..5_000_000_000),
    );
    let mut runner = TestRunner::new(Runs {
        cases: 400,
        failure_persistence: None,
        ..Runs::default()
    });
    let cases = Cell::new(0);
    runner
        .run(&strategy, |(quota, costs, offset)| {
            cases.set(cases.get() + 1);
            let key = format!("case-{}", cases.get());
            let mut connection = connection.borrow_mut();
            let connection = &mut *connection;
            if let Some(offset) = offset {
                let (seconds, micros): (i64, i64) = redis::cmd("TIME").query(connection).unwrap();
                let () = connection.set(&key, seconds * 1_000_000 + micros + offset).unwrap();
            }
            for cost in costs {
                let before: Option<u64> = connection.get(&key).unwrap();
                let (price, window) = bounds(quota, cost);
                let (stored, now, allowed): (i64, u64, u8) = script.key(&key).arg(price).arg(window).invoke(connection).unwrap();
                assert_eq!(u64::try_from(stored).ok(), before);
                let (decision, next) = decide(before, now, quota, cost);
                assert_eq!(decision.allowed, allowed == 1, "{quota:?} {cost} {before:?} {now}");
                let after: Option<u64> = connection.get(&key).unwrap();
                // A quota of microseconds may expire before it is read back.
                assert!(
                    after == next.or(before) || (after.is_none() && next.is_none_or(|next| next < now + 20_000)),
                    "{after:?} {next:?}"
                );
                if let Some(next) = next {
                    let left: i64 = connection.pttl(&key).unwrap();
                    assert!(
                        left <= i64::try_from((next - now).div_ceil(1_000)).unwrap(),
                        "the key outlives its use"
                    );
                }
            }
            Ok(())
        })
        .unwrap();
}

/// The two numbers that the limiter gives the script, worked out independently of it.
fn bounds(quota: Quota, cost: u32) -> (u64, u64) {
    let interval = u64::try_from(quota.per.as_micros())
        .unwrap()
        .div_ceil(u64::from(quota.limit.max(1)));
    (interval * u64::from(cost), interval * u64::from(quota.limit))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_share_one_quota() {
    let server = Server::start();
    let quota = Quota::new(50, Duration::from_secs(86_400));
    let both = [limiter(&server), limiter(&server)];
    let mut tasks = tokio::task::JoinSet::new();
    for limiter in both.iter().cycle().take(16) {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            let mut passed = 0;
            for _ in 0..10 {
                passed += u32::from(limiter.check("shared", quota, 1).await.allowed);
            }
            passed
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), 50);
    assert!(!both[0].fallen_back() && !both[1].fallen_back());
}

#[tokio::test]
async fn a_killed_server_is_replaced_at_once_and_found_again() {
    let server = Server::start();
    let port = server.port;
    let limiter = limiter(&server);
    let quota = Quota::new(3, Duration::from_secs(3_600));
    assert_eq!(limiter.check("k", quota, 1).await.remaining, 2);

    drop(server);
    let asked = Instant::now();
    let alone: Vec<bool> = [limiter.check("k", quota, 1).await, limiter.check("k", quota, 3).await]
        .map(|decision| decision.allowed)
        .into();
    assert_eq!(alone, [true, false], "limits hold without redis");
    assert!(
        asked.elapsed() < Duration::from_millis(1_500),
        "nobody waited: {:?}",
        asked.elapsed()
    );
    assert!(limiter.fallen_back());

    let server = Server::start_on(port);
    returns(&limiter).await;
    limiter.check("after", quota, 1).await;
    let stored: Option<u64> = server.connection().unwrap().get("postroad:limit:after").unwrap();
    assert!(stored.is_some(), "the shared table is used again");
}

#[tokio::test]
async fn a_paused_server_costs_one_timeout() {
    let server = Server::start();
    let limiter = Limiter::redis(RedisSettings {
        url: &server.url(),
        max_connections: 4,
        timeout: Duration::from_millis(50),
    })
    .unwrap();
    let quota = Quota::per_minute(1_000);
    server.signal("-STOP");
    let asked = Instant::now();
    for _ in 0..200 {
        assert!(limiter.check("k", quota, 1).await.allowed);
    }
    assert!(
        asked.elapsed() < Duration::from_millis(500),
        "one timeout, not twenty: {:?}",
        asked.elapsed()
    );
    assert!(limiter.fallen_back());
    server.signal("-CONT");
    returns(&limiter).await;
}

#[tokio::test]
async fn a_server_without_memory_counts_as_away() {
    let server = Server::start();
    let limiter = limiter(&server);
    let mut connection = server.connection().unwrap();
    let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).query(&mut connection).unwrap();
    assert!(limiter.check("k", Quota::per_minute(100), 1).await.allowed);
    assert!(limiter.fallen_back());
    let () = redis::cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).query(&mut connection).unwrap();
    returns(&limiter).await;
}

async fn returns(limiter: &Limiter) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while limiter.fallen_back() {
        assert!(Instant::now() < deadline, "redis was not found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
