//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.
//!
//! A cell that a spreadsheet would take for a formula is written with an apostrophe before it; reading takes it away, so that what is written
//! and read again is the same.

/// Cells that begin so are formulas to a spreadsheet.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Appends one row.
pub(super) fn write(to: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            to.push(',');
        }
        let guard = if cell.starts_with(FORMULA) || cell.starts_with('\'') {
            "'"
        } else {
            ""
        };
        if cell.contains([',', '"', '\n', '\r', '\t']) || cell.starts_with(' ') || cell.ends_with(' ') {
            to.push('"');
            to.push_str(guard);
            to.push_str(&cell.replace('"', "\"\""));
            to.push('"');
        } else {
            to.push_str(guard);
            to.push_str(cell);
        }
    }
    to.push_str("\r\n");
}

/// The text is no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// A quotation mark that is never closed.
    #[error("a quoted cell that begins in line {0} does not end")]
    Unclosed(usize),
    /// Something behind a closing quotation mark.
    #[error("line {0} has something behind a closing quotation mark")]
    AfterQuote(usize),
}

/// The rows, each with the line on which it begins; empty lines are left out.
pub(super) fn read(text: &str) -> Result<Vec<(usize, Vec<String>)>, Malformed> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rows, mut row, mut line, mut begun) = (Vec::new(), Vec::new(), 1, 1);
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        let mut cell = String::new();
        if rest.next_if_eq(&'"').is_some() {
            let opened = line;
            loop {
                match rest.next() {
                    None => return Err(Malformed::Unclosed(opened)),
                    Some('"') if rest.next_if_eq(&'"').is_some() => cell.push('"'),
                    Some('"') => break,
                    Some(other) => {
                        line += usize::from(other == '\n');
                        cell.push(other);
                    }
                }
            }
            if rest.peek().is_some_and(|next| !matches!(next, ',' | '\r' | '\n')) {
                return Err(Malformed::AfterQuote(line));
            }
        } else {
            while let Some(other) = rest.next_if(|next| !matches!(next, ',' | '\r' | '\n')) {
                cell.push(other);
            }
        }
        row.push(unguarded(cell));
        if rest.next_if_eq(&',').is_some() {
            if rest.peek().is_none() {
                row.push(String::new());
            }
            continue;
        }
        rest.next_if_eq(&'\r');
        rest.next_if_eq(&'\n');
        line += 1;
        let complete = std::mem::take(&mut row);
        if complete.iter().any(|cell| !cell.is_empty()) {
            rows.push((begun, complete));
        }
        begun = line;
    }
    if row.iter().any(|cell| !cell.is_empty()) {
        rows.push((begun, row));
    }
    Ok(rows)
}

fn unguarded(cell: String) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(FORMULA) || rest.starts_with('\'') => rest.to_owned(),
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_is_no_formula() {
        let cells = [
            "plain",
            "",
            "=1+1",
            "+x",
            "-x",
            "@sum",
            "\tx",
            "'",
            "'quoted",
            "'=x",
            "a,b",
            "say \"hi\"",
            "two\r\nlines",
            " blank ",
            "ü",
        ];
        let mut text = String::new();
        write(&mut text, &cells);
        write(&mut text, &["last", ""]);
        let rows = read(&text).unwrap();
        assert_eq!(rows[0].1, cells);
        assert_eq!((rows[1].0, rows[1].1.as_slice()), (3, &["last".to_owned(), String::new()][..]));
        for cell in ["=1+1", "+x", "-x", "@sum"] {
            assert!(text.contains(&format!(",'{cell}")), "{text}");
        }
    }

    #[test]
    fn other_programs_files_are_read_and_broken_ones_are_told_where() {
        let rows = |text: &str| read(text).map(|rows| rows.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>());
        assert_eq!(rows("\u{feff}a,b\nc,d\n").unwrap(), [["a", "b"], ["c", "d"]]);
        assert_eq!(rows("a,b").unwrap(), [["a", "b"]]);
        assert_eq!(rows("a,\r\n\r\n,b\r\n").unwrap(), [["a", ""], ["", "b"]]);
        assert_eq!(rows("a,").unwrap(), [["a", ""]]);
        assert_eq!(rows("").unwrap(), Vec::<Vec<String>>::new());
        assert_eq!(rows("a\n\"b"), Err(Malformed::Unclosed(2)));
        assert_eq!(rows("a\n\"b\"c\n"), Err(Malformed::AfterQuote(2)));
    }
}
