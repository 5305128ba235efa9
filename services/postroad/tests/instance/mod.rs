//! An instance of `postroad up` in a directory of its own, driven as a person would: by its command line, port 1025 and the API.
#![allow(dead_code, reason = "every test file uses its own part")]

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse battery staple 9";

pub(crate) struct Instance {
    pub(crate) directory: TempDir,
    pub(crate) smtp: u16,
    pub(crate) api: u16,
    ops: u16,
    child: Option<Child>,
    more: Vec<(String, String)>,
}

impl Instance {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("postroad-up-").tempdir_in("/tmp").unwrap();
        // Root gives the cluster to another user, who has to pass.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            directory,
            smtp: free_port(),
            api: free_port(),
            ops: free_port(),
            child: None,
            more: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postroad"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("POSTROAD_") || name.starts_with("OTEL_") || name == "DATABASE_URL" || name == "REDIS_URL" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .env("POSTROAD_DATA_DIR", self.data())
            .env("POSTROAD_SMTP__LISTEN", format!("127.0.0.1:{}", self.smtp))
            .env("POSTROAD_SMTP__HOSTNAME", "mx.postroad.test")
            .env("POSTROAD_API__LISTEN", format!("127.0.0.1:{}", self.api))
            .env("POSTROAD_OPS__LISTEN", format!("127.0.0.1:{}", self.ops))
            .envs(self.more.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that must succeed said on stdout.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn start(&mut self) {
        use std::os::unix::process::CommandExt;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let out = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join("out"))
            .unwrap();
        let child = self
            .command(&["up"])
            .process_group(0)
            .stdout(out)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.wait_for("readiness", Duration::from_secs(60), |instance| {
            instance
                .get("/api/v1/health/readiness", None)
                .is_some_and(|(status, _)| status == 200)
        });
    }

    pub(crate) fn wait_for(&mut self, what: &str, patience: Duration, condition: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !condition(self) {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("postroad up ended ({status}) while waiting for {what}:\n{}", self.log());
            }
            assert!(begin.elapsed() < patience, "no {what} after {patience:?}:\n{}", self.log());
            pause();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// What `up` printed for a person, over all starts.
    pub(crate) fn page(&self) -> String {
        fs::read_to_string(self.directory.path().join("out")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// SIGTERM to the process, and its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        let mut child = self.child.take().unwrap();
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if begin.elapsed() > Duration::from_secs(60) {
                signal(-i32::try_from(child.id()).unwrap(), Signal::KILL);
                child.wait().unwrap();
                panic!("it did not stop:\n{}", self.log());
            }
            pause();
        }
    }

    /// SIGKILL to the whole process group, as an impatient supervisor does.
    pub(crate) fn kill(&mut self) {
        signal(-self.pid(), Signal::KILL);
        self.child.take().unwrap().wait().unwrap();
    }

    /// Reaps a process to which the test itself sent SIGKILL.
    pub(crate) fn kill_was_sent(&mut self) {
        self.child.take().unwrap().wait().unwrap();
    }

    /// Processes that work for this instance, PostgreSQL's included.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let id = fs::read_to_string(self.data().join("instance-id")).unwrap_or_else(|_| "nothing".to_owned());
        let (id, directory) = (id.trim().to_owned(), self.directory.path().display().to_string());
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let line = fs::read(entry.path().join("cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                (line.contains(&directory) || line.contains(&format!("postroad-{id}"))).then_some((pid, line))
            })
            .collect()
    }

    pub(crate) fn key(&self) -> String {
        let key = self.told(&["api-key", "create", "--name", "test"]);
        assert!(key.starts_with("pr_") && key.split_whitespace().count() == 1, "{key:?}");
        key.trim().to_owned()
    }

    /// Status and body; None when nobody answers.
    pub(crate) fn get(&self, path: &str, key: Option<&str>) -> Option<(u16, String)> {
        self.http("GET", path, key, "")
    }

    pub(crate) fn post(&self, path: &str, key: &str, body: &str) -> (u16, String) {
        self.http("POST", path, Some(key), body).unwrap()
    }

    fn http(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.api)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{authorization}\r\n{body}"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// Sends a small message as a mail program would; true when it was answered 250.
    pub(crate) fn send(&self, login: &(String, String), to: &str) -> bool {
        self.conversation(login, to).unwrap_or(false)
    }

    fn conversation(&self, (username, password): &(String, String), to: &str) -> std::io::Result<bool> {
        let stream = TcpStream::connect(("127.0.0.1", self.smtp))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut reply = || -> std::io::Result<String> {
            let mut line = String::new();
            loop {
                line.clear();
                if reader.read_line(&mut line)? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                if line.as_bytes().get(3) != Some(&b'-') {
                    return Ok(line.clone());
                }
            }
        };
        let token = base64(format!("\0{username}\0{password}").as_bytes());
        reply()?;
        for line in [
            "EHLO client.test".to_owned(),
            format!("AUTH PLAIN {token}"),
            "MAIL FROM:<app@example.org>".to_owned(),
            format!("RCPT TO:<{to}>"),
            "DATA".to_owned(),
            format!("From: app@example.org\r\nTo: {to}\r\nSubject: hello\r\n\r\nIt works.\r\n."),
        ] {
            (&stream).write_all(format!("{line}\r\n").as_bytes())?;
            let answer = reply()?;
            if !answer.starts_with('2') && !answer.starts_with("354") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Username and password as the page of the first start shows them.
    pub(crate) fn login(&self) -> (String, String) {
        let page = self.page();
        let word_after = |word: &str| page.split_once(word).unwrap().1.split_whitespace().next().unwrap().to_owned();
        (word_after("--auth-user "), word_after("--auth-password "))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(-i32::try_from(child.id()).unwrap(), Signal::KILL);
            let _ = child.wait();
        }
        let begin = Instant::now();
        while !self.processes().is_empty() && begin.elapsed() < Duration::from_secs(20) {
            pause();
        }
    }
}

/// To a process, or to a process group when the number is negative. One that has ended already is fine.
pub(crate) fn signal(pid: i32, signal: Signal) {
    let id = Pid::from_raw(pid.abs()).unwrap();
    let _ = if pid < 0 {
        kill_process_group(id, signal)
    } else {
        kill_process(id, signal)
    };
}

pub(crate) fn pause() {
    std::thread::park_timeout(Duration::from_millis(30));
}

/// A port below the range for outgoing connections, where nothing can take it between this look and its use. Test processes that run
/// side by side begin their search far from each other.
fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = std::process::id()
            .wrapping_mul(37)
            .wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_240 + step % 22_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// RFC 4648 §4; a dependency for one line of a test would be too much.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .map(|chunk| {
            let n = (0..3).fold(0u32, |n, i| n << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
            (0..4)
                .map(|i| {
                    if i <= chunk.len() {
                        char::from(ALPHABET[(n >> (18 - 6 * i) & 63) as usize])
                    } else {
                        '='
                    }
                })
                .collect::<String>()
        })
        .collect()
}

/// The place of the cluster, wherever it went.
pub(crate) fn cluster(data: &Path) -> PathBuf {
    let entry = fs::read_dir(data)
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("postgresql-") && entry.path().join("PG_VERSION").exists());
    entry.unwrap().path().canonicalize().unwrap()
}
