//! Which passwords are refused: short ones, and those that a list of common passwords or the person's own address
//! would give away. There are no rules about the kinds of characters, and nothing is cut off.
//!
//! The list (`password/common.txt`) holds words, not whole passwords: `summerwinter2024!` is weak because two known
//! words and a few digits and signs are all there is to it, three words are enough. Letters behind digits and signs
//! (`p@ssw0rd`) are seen through.

use std::collections::HashSet;
use std::sync::OnceLock;

use fanfare_core::{ErrorCode, Problem};

use crate::error::ControlError;

/// The fewest characters: the password is the only factor.
const CHARS_MIN: usize = 15;
/// The most characters.
const CHARS_MAX: usize = 128;
/// What a known word is worth, and any letter outside of one.
const WORD_WORTH: usize = 4;
/// What a digit or sign is worth, unless it only goes on from the one before (`1234`, `!!!`).
const SIGN_WORTH: usize = 1;
/// Three words and what parts them.
const WORTH_MIN: usize = 14;
const WORD_MIN: usize = 3;
const WORD_MAX: usize = 24;
/// Words that everybody would try here.
const OURS: &[&str] = &["fanfare", "pubsub", "websocket", "dashboard", "platform", "realtime", "publish", "subscribe"];
const ROWS: [&str; 6] = ["`1234567890-=", "qwertyuiop[]\\", "asdfghjkl;'", "zxcvbnm,./", "qwertzuiop", "azertyuiop"];

/// Refuses a weak password; `about` are texts that belong to the person: address, tenant.
pub(crate) fn check(password: &str, about: &[&str]) -> Result<(), ControlError> {
    let refuse = |why: &str| Err(Problem::new(ErrorCode::WeakPassword, why).at("/password", why).into());
    match password.chars().count() {
        ..CHARS_MIN => return refuse("A password has at least 15 characters; several words make a good one."),
        CHARS_MIN..=CHARS_MAX => {}
        _ => return refuse("A password has at most 128 characters."),
    }
    let lower: Vec<char> = password.chars().flat_map(char::to_lowercase).collect();
    if is_monotonous(&lower) {
        return refuse("The password is a row of keys or repeats itself; several words make a good one.");
    }
    let personal = personal_words(about);
    let longest = personal.iter().map(|word| word.chars().count()).fold(WORD_MAX, usize::max);
    if worth(&lower, longest, &|word| is_common(word) || personal.contains(word)) < WORTH_MIN {
        return refuse("The password is made of common words, digits or your own address; more words make a good one.");
    }
    Ok(())
}

/// Few different characters, a unit repeated, or mostly steps to a neighbour in alphabet or keyboard.
fn is_monotonous(text: &[char]) -> bool {
    let different: HashSet<&char> = text.iter().collect();
    let is_letter = |at: &char| at.is_alphabetic();
    let first = text.iter().position(is_letter).unwrap_or(0);
    let last = text.iter().rposition(is_letter).unwrap_or(text.len() - 1);
    let easy = text.windows(2).filter(|pair| is_easy_step(pair[0], pair[1])).count();
    different.len() < 5 || repeats(text) || repeats(&text[first..=last]) || easy * 4 >= (text.len() - 1) * 3
}

fn repeats(text: &[char]) -> bool {
    (1..=text.len() / 2).any(|unit| text.iter().skip(unit).eq(&text[..text.len() - unit]))
}

fn is_easy_step(from: char, to: char) -> bool {
    let near = |row: &&str| {
        let (from, to) = (row.find(from), row.find(to));
        from.zip(to).is_some_and(|(from, to)| from.abs_diff(to) <= 1)
    };
    u32::from(from).abs_diff(u32::from(to)) <= 1 || ROWS.iter().any(near)
}

/// The cheapest way to put the text together from known words, other letters, digits and signs.
fn worth(text: &[char], longest: usize, is_known: &dyn Fn(&str) -> bool) -> usize {
    let mut cheapest = vec![0; text.len() + 1];
    for end in 1..=text.len() {
        let before = end.checked_sub(2).map(|before| text[before]);
        cheapest[end] = cheapest[end - 1] + worth_after(before, text[end - 1]);
        for start in end.saturating_sub(longest)..=end.saturating_sub(WORD_MIN) {
            let with_word = cheapest[start] + WORD_WORTH;
            if with_word < cheapest[end] && readings(&text[start..end]).iter().any(|word| is_known(word)) {
                cheapest[end] = with_word;
            }
        }
    }
    cheapest[text.len()]
}

fn worth_after(before: Option<char>, letter: char) -> usize {
    let is_sign = letter.is_ascii() && !letter.is_ascii_alphabetic();
    match before {
        _ if !is_sign => WORD_WORTH,
        Some(before) if is_easy_step(before, letter) => 0,
        _ => SIGN_WORTH,
    }
}

/// The text as it stands, and as it reads with digits and signs taken for letters.
fn readings(text: &[char]) -> [String; 3] {
    let read = |one: char| {
        text.iter()
            .map(|letter| match letter {
                '0' => 'o',
                '1' | '!' | '|' => one,
                '3' => 'e',
                '4' | '@' => 'a',
                '5' | '$' => 's',
                '7' | '+' => 't',
                '8' => 'b',
                other => *other,
            })
            .collect()
    };
    [text.iter().collect(), read('i'), read('l')]
}

fn is_common(word: &str) -> bool {
    static COMMON: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let lines = || include_str!("password/common.txt").lines().chain(OURS.iter().copied()).collect();
    COMMON.get_or_init(lines).contains(word)
}

/// Whole texts, and their parts between signs.
fn personal_words(about: &[&str]) -> HashSet<String> {
    let about = about.iter().map(|text| text.to_lowercase());
    about
        .flat_map(|text| {
            let parts: Vec<String> = text.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned).collect();
            parts.into_iter().chain([text])
        })
        .filter(|word| word.chars().count() >= WORD_MIN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(password: &str) -> bool {
        check(password, &["ann.miller@acme-widgets.example", "Acme Widgets"]).is_ok()
    }

    #[test]
    fn weak_passwords_are_refused() {
        let long = "correct horse battery staple ".repeat(5);
        for weak in [
            "",
            "short",
            "Tr0ub4dor&3",
            "fourteen chars",
            "password1234567",
            "Password1234567!",
            "p@ssw0rd1234567",
            "passwordpassword",
            "PasswordPassword1!",
            "iloveyouforever",
            "summerwinter2024!",
            "dragon-football-99",
            "2024-11-22-2025",
            "password 1234567890 !!!!!",
            "qwertyuiop12345",
            "qwertyuiopasdfgh",
            "1qaz2wsx3edc4rfv1qaz2wsx3edc4rfv",
            "123456789012345",
            "987654321098765",
            "aaaaaaaaaaaaaaa",
            "abcabcabcabcabc",
            "abcdefghijklmnop",
            "000000000000001",
            "ann.miller@acme-widgets.example",
            "annmilleracme123",
            "acmewidgets12345",
            "AcmeWidgets2024!!",
            "fanfarefanfare1",
            "fanfarepassword",
            "F4nf4r3-p4ssw0rd",
            "letmeinletmein12",
            "               ",
            "!!!!!!!!!!!!!!!!!",
            &long,
        ] {
            assert!(!is_accepted(weak), "{weak:?}");
        }
    }

    #[test]
    fn long_and_unusual_ones_are_accepted_whatever_they_are_made_of() {
        let long: String = (0..128).map(|at| char::from(b'a' + (at * 7 + at / 11) as u8 % 26)).collect();
        for good in [
            "correct horse battery staple",
            "ich mag grünen Käse",
            "blaue Wolken über Kiel",
            "🦀🐙🦑🐚🌊⛵🏝🌴🥥🍍🌺🌞🐬🐳🪸",
            "nul \0 inside a sentence",
            "uvJ3kq-9Xz_p2LmW",
            "x7!Kd92@qLmz#0Pw",
            "ann likes cold rivers",
            "fanfare plays at the old gate",
            "это длинная фраза",
            "dragon monkey summer",
            "83927465019283749150",
            &long,
        ] {
            assert!(is_accepted(good), "{good:?}");
        }
    }

    #[test]
    fn the_list_is_lower_case_sorted_and_without_doubles() {
        let lines: Vec<&str> = include_str!("password/common.txt").lines().collect();
        assert!(lines.len() > 1_000 && lines.is_sorted_by(|left, right| left < right), "{}", lines.len());
        for line in lines {
            let fits = (WORD_MIN..=WORD_MAX).contains(&line.chars().count());
            assert!(
                fits && line.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()),
                "{line}"
            );
        }
    }
}
