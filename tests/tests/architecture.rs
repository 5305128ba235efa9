//! Holds the arrows between our crates to the drawing in `docs/architecture.md`, and keeps SQL, clocks and banned crates where they
//! belong. Reads `cargo metadata` and the sources; builds nothing.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Every crate of ours and what it may use of ours. A crate that is not listed fails: adding one is a decision.
const ARROWS: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("dns", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("health", &[]),
    ("rate-limit", &[]),
    ("smtp", &["mail"]),
    ("rules", &["mail"]),
    ("mailauth", &["mail", "dns"]),
    ("store", &["mail"]),
    ("auth", &["store"]),
    ("intake", &["store", "mail", "mailauth", "rules"]),
    ("service", &["config", "telemetry", "health", "store"]),
    // Two that the services share: a domain's DNS records, and the parts built from the settings.
    ("domains", &["dns", "store"]),
    (
        "assembly",
        &[
            "config",
            "service",
            "health",
            "store",
            "mail",
            "mailauth",
            "auth",
            "intake",
            "dns",
            "rate-limit",
        ],
    ),
    ("testkit", &["mail", "dns", "store"]),
    ("postroad-smtp", EVERY_LIBRARY),
    ("postroad-api", EVERY_LIBRARY),
    ("postroad-worker", EVERY_LIBRARY),
    ("postroad", EVERYTHING),
    // Tests stand outside the product and talk to it over the network; the load tool measures the store.
    ("postroad-load", &["store"]),
    ("end-to-end", &[]),
];

/// What a service may use: every library, no other service.
const EVERY_LIBRARY: &[&str] = &[
    "mail",
    "smtp",
    "rules",
    "mailauth",
    "dns",
    "store",
    "intake",
    "auth",
    "rate-limit",
    "config",
    "telemetry",
    "health",
    "service",
    "domains",
    "assembly",
];

/// `services/postroad` alone imports the three services.
const EVERYTHING: &[&str] = &[
    "mail",
    "smtp",
    "rules",
    "mailauth",
    "dns",
    "store",
    "intake",
    "auth",
    "rate-limit",
    "config",
    "telemetry",
    "health",
    "service",
    "domains",
    "assembly",
    "postroad-smtp",
    "postroad-api",
    "postroad-worker",
];

/// Crates that do no I/O and know no time: what they need of either is a parameter.
const PURE: &[(&str, &[&str])] = &[("mail", RUNTIMES), ("rules", RUNTIMES)];

/// What a pure crate does without.
const RUNTIMES: &[&str] = &[
    "tokio",
    "tokio-util",
    "sqlx",
    "hickory-resolver",
    "reqwest",
    "rand",
    "tracing",
    "metrics",
];

/// Crates that may name the database driver at all.
const MAY_NAME_SQLX: &[&str] = &[
    "store",
    "auth",
    "intake",
    "service",
    "testkit",
    "postroad-smtp",
    "postroad-api",
    "postroad-worker",
    "postroad",
    "postroad-load",
];

/// Never in the graph; the reasons are in `deny.toml`.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "ring", "rsa"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Our own packages; what they depend on is read from their manifests, so that nothing has to be fetched.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap()
}

fn ours(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

fn used<'a>(package: &'a Package, kinds: &'a [DependencyKind]) -> impl Iterator<Item = &'a str> {
    package
        .dependencies
        .iter()
        .filter(move |dependency| kinds.contains(&dependency.kind))
        .map(|dependency| dependency.name.as_str())
}

#[test]
fn every_arrow_between_our_crates_points_where_the_design_allows() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    let names: BTreeSet<String> = ours(&metadata).iter().map(|package| package.name.to_string()).collect();
    let mut wrong = Vec::new();
    for package in ours(&metadata) {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is not in the table of crates", package.name));
            continue;
        };
        for dependency in used(package, &[DependencyKind::Normal, DependencyKind::Build]) {
            if names.contains(dependency) && !allowed.contains(dependency) {
                wrong.push(format!("{} -> {dependency}", package.name));
            }
        }
        // Tests may build a scene with testkit; otherwise the same table holds for them.
        for dependency in used(package, &[DependencyKind::Development]) {
            if names.contains(dependency) && dependency != "testkit" && !allowed.contains(dependency) {
                wrong.push(format!("{} -> {dependency} (in tests)", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the design does not allow: {wrong:#?}");
}

#[test]
fn the_test_kit_is_in_no_shipped_program() {
    let metadata = metadata();
    let shipped: Vec<_> = ours(&metadata)
        .into_iter()
        .filter(|package| used(package, &[DependencyKind::Normal, DependencyKind::Build]).any(|dependency| dependency == "testkit"))
        .map(|package| package.name.to_string())
        .collect();
    assert!(shipped.is_empty(), "testkit is a normal dependency of {shipped:?}");
}

#[test]
fn no_crate_is_called_common_core_or_utils() {
    let metadata = metadata();
    for package in ours(&metadata) {
        for word in ["common", "core", "util", "utils", "helper", "helpers", "shared", "misc"] {
            assert!(
                !package.name.split('-').any(|part| part == word),
                "{} says nothing about what it is",
                package.name
            );
        }
    }
}

#[test]
fn pure_crates_have_no_runtime_no_database_and_no_clock() {
    let metadata = metadata();
    for (name, banned) in PURE {
        let package = ours(&metadata).into_iter().find(|package| package.name.as_str() == *name).unwrap();
        for dependency in used(package, &[DependencyKind::Normal, DependencyKind::Build]) {
            assert!(!banned.contains(&dependency), "{name} uses {dependency}");
        }
        for (file, text) in sources(&root().join("crates").join(name).join("src")) {
            for clock in ["Utc::now", "Local::now", "SystemTime", "Instant::now", "std::env", "std::net::Tcp"] {
                assert!(
                    !shipped_part(&text).contains(clock),
                    "{} uses {clock}: time and the world are parameters",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn only_the_store_contains_sql() {
    let metadata = metadata();
    for package in ours(&metadata) {
        if used(package, &[DependencyKind::Normal]).any(|dependency| dependency == "sqlx") {
            assert!(
                MAY_NAME_SQLX.contains(&package.name.as_str()),
                "{} must not know the database driver",
                package.name
            );
        }
    }
    let mut wrong = Vec::new();
    for (file, text) in sources(&root()) {
        // The measuring tool builds its own million rows.
        if file.starts_with(root().join("crates/store"))
            || file.starts_with(root().join("bench"))
            || file.ends_with("tests/tests/architecture.rs")
        {
            continue;
        }
        let in_tests = file.components().any(|part| part.as_os_str() == "tests") || file.starts_with(root().join("crates/testkit"));
        let text = if in_tests { String::new() } else { shipped_part(&text) };
        for call in [
            "sqlx::query",
            "sqlx::raw_sql",
            "query_as!(",
            "query_scalar!(",
            "query!(",
            "QueryBuilder",
            "PgListener",
        ] {
            if text.contains(call) {
                wrong.push(format!("{}: {call}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "SQL outside crates/store: {wrong:#?}");
}

#[test]
fn banned_crates_are_not_in_the_graph() {
    // What is really built here; the lock file also names optional crates that nobody turned on.
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--edges", "all", "--prefix", "none", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(tree.contains("rustls v"), "an empty tree proves nothing");
    let found: BTreeSet<_> = tree
        .lines()
        .filter(|line| BANNED.contains(&line.split(' ').next().unwrap_or_default()))
        .collect();
    assert!(found.is_empty(), "banned: {found:?}");
}

/// Every Rust source below a folder, build output and hidden folders aside.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else if name.ends_with(".rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// A source without its unit tests (which stand at its foot) and without comments.
fn shipped_part(text: &str) -> String {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}
