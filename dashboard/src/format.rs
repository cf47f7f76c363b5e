//! Numbers and spans as people read them. Large ones are shortened; the exact value belongs into a title beside it.

/// A number in at most three digits and a letter: `12.4 k`.
pub(crate) fn short(number: f64) -> String {
    let (scaled, letter) = match number.abs() {
        size if size < 1e3 => (number, ""),
        size if size < 1e6 => (number / 1e3, " k"),
        size if size < 1e9 => (number / 1e6, " M"),
        _ => (number / 1e9, " G"),
    };
    format!("{}{letter}", digits(scaled))
}

/// A whole number with its thousands parted: `12,403`.
pub(crate) fn exact(number: f64) -> String {
    let plain = format!("{:.0}", number.abs());
    let mut out = String::with_capacity(plain.len() + plain.len() / 3 + 1);
    if number <= -0.5 {
        out.push('-');
    }
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds, finer the fewer they are: `0.42`, `3.1`, `128`. The unit is the caller's to add.
pub(crate) fn millis(number: f64) -> String {
    match number.abs() {
        size if size < 0.995 => format!("{number:.2}"),
        size if size < 99.95 => format!("{number:.1}"),
        _ => exact(number),
    }
}

/// How long ago something was: `now`, `40 s ago`, `3 d ago`.
pub(crate) fn ago(milliseconds: f64) -> String {
    let seconds = (milliseconds / 1_000.0).max(0.0);
    match seconds {
        few if few < 5.0 => "now".to_owned(),
        few if few < 60.0 => format!("{few:.0} s ago"),
        some if some < 3_600.0 => format!("{:.0} min ago", (some / 60.0).floor()),
        many if many < 86_400.0 => format!("{:.0} h ago", (many / 3_600.0).floor()),
        ages => format!("{:.0} d ago", (ages / 86_400.0).floor()),
    }
}

/// How soon something will be: `in 40 s`, `in 3 h`; what is over is told as [`ago`] does.
pub(crate) fn until(milliseconds: f64) -> String {
    let seconds = milliseconds / 1_000.0;
    match seconds {
        over if over < 1.0 => ago(-milliseconds),
        few if few < 90.0 => format!("in {few:.0} s"),
        some if some < 5_400.0 => format!("in {:.0} min", (some / 60.0).round()),
        many if many < 129_600.0 => format!("in {:.0} h", (many / 3_600.0).round()),
        ages => format!("in {:.0} d", (ages / 86_400.0).round()),
    }
}

/// Bytes in the unit that fits: `64 KiB`, `1.5 MiB`.
pub(crate) fn bytes(number: f64) -> String {
    let (scaled, unit) = match number {
        size if size < 1_024.0 => (number, "B"),
        size if size < 1_048_576.0 => (number / 1_024.0, "KiB"),
        size if size < 1_073_741_824.0 => (number / 1_048_576.0, "MiB"),
        size if size < 1_099_511_627_776.0 => (number / 1_073_741_824.0, "GiB"),
        _ => (number / 1_099_511_627_776.0, "TiB"),
    };
    format!("{} {unit}", digits(scaled))
}

/// How long something lasts: `2 min`, `30 d`.
pub(crate) fn span(milliseconds: f64) -> String {
    let seconds = milliseconds / 1_000.0;
    let (scaled, unit) = match seconds {
        few if few < 1.0 => (milliseconds, "ms"),
        few if few < 120.0 => (seconds, "s"),
        some if some < 7_200.0 => (seconds / 60.0, "min"),
        many if many < 172_800.0 => (seconds / 3_600.0, "h"),
        _ => (seconds / 86_400.0, "d"),
    };
    format!("{} {unit}", digits(scaled))
}

/// `1 connection`, `2 connections`.
pub(crate) fn counted(number: f64, one: &str) -> String {
    let plural = if (number - 1.0).abs() < 0.5 { "" } else { "s" };
    format!("{} {one}{plural}", exact(number))
}

/// A text that ends like a sentence.
pub(crate) fn sentence(text: &str) -> String {
    if text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

/// Three digits that count, no zeros behind the point that say nothing.
fn digits(number: f64) -> String {
    let text = match number.abs() {
        size if size < 9.995 && number.fract() != 0.0 => format!("{number:.2}"),
        size if size < 99.95 && number.fract() != 0.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_name_their_size() {
        let cases = [
            (0.0, "0"),
            (7.0, "7"),
            (0.5, "0.5"),
            (999.0, "999"),
            (1_000.0, "1 k"),
            (12_403.0, "12.4 k"),
            (3.2e6, "3.2 M"),
        ];
        for (number, text) in cases {
            assert_eq!(short(number), text);
        }
        assert_eq!((exact(0.0), exact(1_234_567.0)), ("0".to_owned(), "1,234,567".to_owned()));
    }

    #[test]
    fn spans_are_told_in_the_unit_that_fits() {
        assert_eq!([millis(0.421), millis(3.14), millis(1_280.0)], ["0.42", "3.1", "1,280"]);
        assert_eq!([ago(0.0), ago(40_000.0), ago(7_300_000.0), ago(2e8)], ["now", "40 s ago", "2 h ago", "2 d ago"]);
        assert_eq!(
            [until(-40_000.0), until(40_000.0), until(3.6e6), until(8.64e7)],
            ["40 s ago", "in 40 s", "in 60 min", "in 24 h"]
        );
        assert_eq!([span(120_000.0), span(90_000.0), span(2_592_000_000.0)], ["2 min", "90 s", "30 d"]);
        assert_eq!([bytes(512.0), bytes(65_536.0), bytes(1_572_864.0)], ["512 B", "64 KiB", "1.5 MiB"]);
        assert_eq!([counted(1.0, "connection"), counted(1_204.0, "connection")], ["1 connection", "1,204 connections"]);
    }
}
