//! `postroad up` from the first start to the last: the program itself, on a database of its own (DESIGN §5, ASSURANCE F01–F07).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod instance;

use instance::{Instance, cluster, pause, signal};
use rustix::process::Signal;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_first_start_says_once_what_to_do_and_it_works_as_printed() {
    let mut instance = Instance::new();
    instance.start();
    instance.wait_for("the page", PATIENCE, |instance| instance.page().contains("captured=true"));
    let page = instance.page();
    assert!(
        page.contains("password") && page.contains("swaks --server") && page.contains("/docs"),
        "{page}"
    );

    let login = instance.login();
    assert!(instance.send(&login, "you@example.net"), "{}", instance.log());
    let key = page.split_once("Bearer ").unwrap().1.split('\'').next().unwrap().to_owned();
    let body = page.split_once("-d '").unwrap().1.split_once('\'').unwrap().0;
    let (status, answer) = instance.post("/api/v1/messages", &key, body);
    assert_eq!(status, 202, "{answer}");
    instance.wait_for("two captured messages", PATIENCE, |instance| {
        let (status, list) = instance.get("/api/v1/messages?captured=true", Some(&key)).unwrap();
        assert_eq!(status, 200, "{list}");
        list.matches("\"delivered\"").count() >= 2
    });

    assert!(instance.stop().success(), "{}", instance.log());
    instance.start();
    assert!(instance.stop().success());
    assert_eq!(instance.page().matches("swaks --server").count(), 1, "shown more than once");
}

#[test]
fn it_stops_when_told_and_leaves_no_process_behind() {
    let mut instance = Instance::new();
    instance.start();
    assert!(instance.processes().len() > 2, "the test does not see the database");
    let status = instance.stop();
    assert_eq!(status.code(), Some(0), "{}", instance.log());
    assert_eq!(instance.processes(), []);
    assert!(!cluster(&instance.data()).join("postmaster.pid").exists());
}

#[test]
fn killed_hard_again_and_again_it_comes_back_with_everything_acknowledged() {
    let mut instance = Instance::new();
    instance.start();
    instance.wait_for("the page", PATIENCE, |instance| instance.page().contains("captured=true"));
    let (login, key) = (instance.login(), instance.key());
    let (acknowledged, stop) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    for round in 0..3 {
        stop.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let (instance, login, acknowledged, stop) = (&instance, &login, &acknowledged, &stop);
                scope.spawn(move || {
                    let mut number = 0;
                    while !stop.load(Ordering::SeqCst) {
                        number += 1;
                        let to = format!("k{round}-{client}-{number}@example.net");
                        if instance.send(login, &to) {
                            acknowledged.lock().unwrap().insert(to);
                        }
                    }
                });
            }
            std::thread::park_timeout(Duration::from_millis(1500));
            // While they are all sending; nobody waits for the clients first.
            signal(-instance.pid(), Signal::KILL);
            stop.store(true, Ordering::SeqCst);
        });
        instance.kill_was_sent();
        instance.start();
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 20, "{} is too few to mean anything", acknowledged.len());
    for to in acknowledged.iter().rev().step_by(acknowledged.len().div_ceil(40)) {
        let path = format!("/api/v1/messages?to={to}");
        instance.wait_for("an acknowledged message", PATIENCE, |instance| {
            let (status, list) = instance.get(&path, Some(&key)).unwrap();
            assert_eq!(status, 200, "{list}");
            list.contains("\"delivered\"")
        });
    }
}

#[test]
fn a_database_that_is_killed_under_it_is_started_again() {
    let mut instance = Instance::new();
    instance.start();
    let lock = cluster(&instance.data()).join("postmaster.pid");
    let first: i32 = fs::read_to_string(&lock).unwrap().lines().next().unwrap().parse().unwrap();
    signal(first, Signal::KILL);
    let key = |instance: &Instance| instance.run(&["api-key", "create", "--name", "after"]).status.success();
    instance.wait_for("a new database", PATIENCE, |_| {
        fs::read_to_string(&lock)
            .is_ok_and(|text| text.lines().next() != Some(&first.to_string()) && text.lines().nth(7).is_some_and(|l| l.trim() == "ready"))
    });
    assert!(key(&instance), "{}", instance.log());
    instance.wait_for("readiness", PATIENCE, |instance| {
        instance
            .get("/api/v1/health/readiness", None)
            .is_some_and(|(status, _)| status == 200)
    });
    assert!(instance.stop().success());
}

#[test]
fn a_second_start_on_one_directory_is_refused_and_harms_nothing() {
    let mut instance = Instance::new();
    instance.start();
    let output = instance.run(&["up"]);
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(&format!("process {}", instance.pid())), "{message}");
    assert_eq!(instance.get("/api/v1/health/readiness", None).unwrap().0, 200);
    assert!(instance.stop().success());
}

#[test]
fn keys_are_made_beside_a_running_instance_and_without_one() {
    let mut instance = Instance::new()
        .with("POSTROAD_BOOTSTRAP__ADMIN_EMAIL", "owner@accept.test")
        .with("POSTROAD_BOOTSTRAP__ADMIN_PASSWORD", instance::PASSWORD);
    let early = instance.run(&["api-key", "create", "--name", "too early"]);
    assert!(
        String::from_utf8_lossy(&early.stderr).contains("postroad up"),
        "no organization yet"
    );
    instance.start();
    let beside = instance.key();
    assert!(
        !instance.page().contains(instance::PASSWORD),
        "a configured password is not repeated"
    );
    assert!(instance.stop().success());
    let alone = instance.key();
    assert_eq!(instance.processes(), [], "the command left its database running");
    instance.start();
    for key in [beside, alone] {
        assert_eq!(instance.get("/api/v1/domains", Some(&key)).unwrap().0, 200);
    }
    assert!(instance.stop().success());
}

#[test]
fn the_queue_is_held_listed_and_released_from_the_command_line() {
    let mut instance = Instance::new();
    instance.start();
    instance.wait_for("the page", PATIENCE, |instance| instance.page().contains("captured=true"));
    let key = instance.key();
    let later = (chrono::Utc::now() + chrono::Duration::days(30)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let body = format!(r#"{{"from":"app@example.org","to":["later@example.net"],"subject":"s","text":"t","scheduled_at":"{later}"}}"#);
    let (status, answer) = instance.post("/api/v1/messages", &key, &body);
    assert_eq!(status, 202, "{answer}");
    assert!(instance.told(&["queue", "list"]).contains("later@example.net"));
    assert_eq!(
        instance.told(&["queue", "hold", "--destination", "example.net"]),
        "1 deliveries held\n"
    );
    assert!(instance.told(&["queue", "list"]).contains("\theld\t"));
    assert_eq!(instance.told(&["queue", "retry", "--all"]), "0 deliveries made due now\n");
    assert_eq!(
        instance.told(&["queue", "hold", "--destination", "other.example"]),
        "0 deliveries held\n"
    );
    assert_eq!(instance.told(&["queue", "release", "--all"]), "1 deliveries released\n");
    assert!(
        instance.told(&["queue", "list"]).contains("\tscheduled\t"),
        "released before its time"
    );
    assert_eq!(instance.told(&["queue", "retry", "--all"]), "0 deliveries made due now\n");
    let message = answer.split('"').find(|word| word.starts_with("msg_")).unwrap();
    assert_eq!(instance.told(&["queue", "retry", message]), "1 deliveries made due now\n");
    instance.wait_for("delivery", PATIENCE, |instance| {
        instance.told(&["queue", "list"]).lines().count() == 1
    });
    assert!(instance.stop().success());
}

#[test]
fn a_directory_that_the_database_user_cannot_reach_is_no_obstacle() {
    let mut instance = Instance::new();
    fs::set_permissions(instance.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    instance.start();
    let cluster = cluster(&instance.data());
    assert!(instance.stop().success());
    if !cluster.starts_with(instance.directory.path()) {
        // Root's case; an ordinary user is the database user.
        fs::remove_dir_all(cluster.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_stale_lock_file_of_a_process_that_is_somebody_else_now_is_no_obstacle() {
    let mut instance = Instance::new();
    instance.start();
    assert!(instance.stop().success());
    let lock = cluster(&instance.data()).join("postmaster.pid");
    fs::write(
        &lock,
        format!(
            "{}\n{}\n1\n5432\n/tmp\n\n1 1\nready\n",
            std::process::id(),
            lock.parent().unwrap().display()
        ),
    )
    .unwrap();
    instance.start();
    pause();
    assert!(instance.stop().success());
}
