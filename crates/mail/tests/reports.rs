//! Reading reports: each folder of `testdata/reports` is a message as hosts really send them (line ends as LF, sent as CRLF) and what
//! we understand of it. `UPDATE=1` rewrites the expectations; `git diff` shows what changed.

use std::fmt::Write as _;
use std::path::Path;

use mail::dsn::{self, Report};

fn described(report: Option<&Report>) -> Result<String, std::fmt::Error> {
    let Some(report) = report else {
        return Ok("no report\n".to_owned());
    };
    let mut text = String::new();
    let show = |value: Option<&dyn std::fmt::Display>| value.map_or("-".to_owned(), ToString::to_string);
    writeln!(text, "kind: {:?}", report.kind)?;
    writeln!(text, "reporting mta: {}", report.reporting_mta.as_deref().unwrap_or("-"))?;
    writeln!(text, "envelope id: {}", report.envelope_id.as_deref().unwrap_or("-"))?;
    writeln!(
        text,
        "original message id: {}",
        report.original_message_id().as_deref().unwrap_or("-")
    )?;
    for recipient in &report.recipients {
        writeln!(
            text,
            "\nfinal recipient: {}",
            show(recipient.final_recipient.as_ref().map(|value| value as _))
        )?;
        writeln!(
            text,
            "original recipient: {}",
            show(recipient.original_recipient.as_ref().map(|value| value as _))
        )?;
        writeln!(text, "action: {}", recipient.action)?;
        writeln!(text, "status: {}", show(recipient.status.as_ref().map(|value| value as _)))?;
        writeln!(text, "reply code: {}", show(recipient.reply_code.as_ref().map(|value| value as _)))?;
        writeln!(text, "remote mta: {}", recipient.remote_mta.as_deref().unwrap_or("-"))?;
        writeln!(text, "diagnostic: {}", recipient.diagnostic.as_deref().unwrap_or("-"))?;
    }
    if let Some(complaint) = &report.complaint {
        writeln!(text, "\ncomplaint: {complaint:?}")?;
    }
    Ok(text)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch for whoever changes the expectations, not a setting"
)]
fn reports_of_many_hosts_are_understood() {
    let update = std::env::var("UPDATE").is_ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/reports");
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 19);
    for case in cases {
        let raw = std::fs::read_to_string(case.join("message.eml")).unwrap();
        let got = described(dsn::parse(raw.replace('\n', "\r\n").as_bytes()).as_ref()).unwrap();
        // A host that sends bare line feeds is understood as well.
        assert_eq!(got, described(dsn::parse(raw.as_bytes()).as_ref()).unwrap(), "{}", case.display());
        let want = case.join("want.txt");
        if update {
            std::fs::write(&want, &got).unwrap();
        }
        assert_eq!(got, std::fs::read_to_string(&want).unwrap_or_default(), "{}", case.display());
    }
}
