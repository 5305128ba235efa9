//! House rules that no compiler checks: modules introduce themselves, files stay readable, nothing names the machine it was written on,
//! and documents point at files that exist.

#![expect(clippy::unwrap_used, reason = "a test: what cannot be read fails it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A source file longer than this hides a second thing in the first.
const LONGEST_FILE: usize = 500;
/// Scenarios may stand beside each other for a little longer.
const LONGEST_TEST: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files of the repository: what git tracks or would track. A copy without git is walked instead.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            names.lines().map(|name| root().join(name)).filter(|path| path.is_file()).collect()
        }
        _ => walk(&root()),
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "target" || name == ".git" || name == ".postroad" || name == ".env" {
            continue;
        }
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn with_extension<'a>(files: &'a [PathBuf], extension: &'a str) -> impl Iterator<Item = (&'a PathBuf, String)> {
    files
        .iter()
        .filter(move |path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (path, fs::read_to_string(path).unwrap()))
}

#[test]
fn every_module_opens_by_saying_what_it_is_for() {
    let files = files();
    let silent: Vec<_> = with_extension(&files, "rs")
        .filter(|(path, _)| path.file_name().is_none_or(|name| name != "build.rs"))
        .filter(|(_, text)| {
            !text
                .lines()
                .next()
                .is_some_and(|first| first.starts_with("//! ") && first.len() > 10)
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no //! on the first line: {silent:#?}");
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let files = files();
    let long: Vec<_> = with_extension(&files, "rs")
        .map(|(path, text)| (text.lines().count(), path.display().to_string()))
        .filter(|(lines, path)| *lines > if path.contains("/tests/") { LONGEST_TEST } else { LONGEST_FILE })
        .collect();
    assert!(long.is_empty(), "more than {LONGEST_FILE} lines: {long:#?}");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // Put together here, so that this file does not accuse itself.
    let forbidden = [
        ["/wo", "rk/"].concat(),
        ["/ho", "me/"].concat(),
        ["../sha", "red"].concat(),
        ["/Us", "ers/"].concat(),
    ];
    let known = ["/home/linuxbrew/"]; // a path of other people's machines
    let mut wrong = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(&path) else {
            continue; // not text
        };
        for (number, line) in text.lines().enumerate() {
            let line = known.iter().fold(line.to_owned(), |line, known| line.replace(known, ""));
            if forbidden.iter().any(|part| line.contains(part.as_str())) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let files = files();
    let mut broken = Vec::new();
    for (path, text) in with_extension(&files, "md") {
        for target in links(&text) {
            if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
                continue;
            }
            let target = target.split('#').next().unwrap_or_default();
            if !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{} -> {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains(char::is_whitespace))
        .collect()
}

#[test]
fn scripts_can_be_executed_and_say_what_they_are_for() {
    use std::os::unix::fs::PermissionsExt;
    for path in files() {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        if text.starts_with("#!") && path.extension().is_none_or(|extension| extension != "rs") {
            assert!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0,
                "{} is not executable",
                path.display()
            );
            let second = text.lines().nth(1).unwrap_or_default();
            assert!(
                second.starts_with("# ") || second.starts_with("\"\"\""),
                "{} does not open with a comment",
                path.display()
            );
        }
    }
}

#[test]
fn the_assurance_page_names_only_tests_that_exist() {
    let files = files();
    let page = fs::read_to_string(root().join("docs/assurance.md")).unwrap();
    let sources: String = with_extension(&files, "rs").map(|(_, text)| text).collect();
    let missing: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|name| match name.strip_suffix(".smtp") {
            Some(_) => !root().join("crates/smtp/tests/dialogs").join(name).exists(),
            None => !sources.contains(&format!("fn {name}(")),
        })
        .collect();
    assert!(missing.is_empty(), "docs/assurance.md names what is not there: {missing:#?}");
}
