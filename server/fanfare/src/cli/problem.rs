//! Tells a person what the server refused, why, and what to do.

use anyhow::{Error, anyhow};
use fanfare_core::Problem;

/// The refusal as an error of the command.
pub(super) fn error(problem: &Problem) -> Error {
    let mut text = format!("{} ({})", problem.detail.trim_end_matches('.'), problem.code);
    for place in &problem.errors {
        text.push_str(&format!("\n  {}: {}", place.pointer, place.detail));
    }
    if let Some(wait) = problem.retry_after_ms {
        text.push_str(&format!("\n  Come back in {wait} ms."));
    }
    text.push_str(&format!("\n  {}", problem.code.todo()));
    anyhow!(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::ErrorCode;

    #[test]
    fn a_refusal_names_the_code_the_place_and_the_way_out() {
        let problem = Problem::of(ErrorCode::InvalidRequest).at("/data", "is missing").retry_after_ms(20);
        let said = error(&problem).to_string();
        for part in ["invalid_request", "/data: is missing", "20 ms", ErrorCode::InvalidRequest.todo()] {
            assert!(said.contains(part), "{said}");
        }
    }
}
