//! A metric without a description is a number that nobody understands: every one in the code stands in the table, and the other way round.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use telemetry::METRICS;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_metric_in_the_code_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for top in ["crates", "services"] {
        for package in std::fs::read_dir(root.join(top)).unwrap() {
            sources(&package.unwrap().path().join("src"), &mut files);
        }
    }
    let mut used = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for call in ["counter!(", "gauge!(", "histogram!("] {
            for (at, _) in text.match_indices(call) {
                let rest = text[at + call.len()..].trim_start();
                if let Some((name, _)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                    used.insert(name.to_owned());
                }
            }
        }
    }
    let described: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let missing: Vec<_> = used.difference(&described).collect();
    assert!(missing.is_empty(), "describe these in crates/telemetry/src/metrics.rs: {missing:?}");
    let unused: Vec<_> = described.difference(&used).collect();
    assert!(unused.is_empty(), "nobody publishes these: {unused:?}");
}
