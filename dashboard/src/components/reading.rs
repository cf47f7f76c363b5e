//! What is typed, read field by field: every field that cannot be read is named, as the server would name it.

use std::fmt::Display;

use fanfare_core::{ErrorCode, Problem};

use crate::api::ApiError;

/// Collects the places of a form that cannot be read.
#[derive(Debug)]
pub(crate) struct Reading(Problem);

impl Reading {
    /// Nothing wrong so far.
    pub(crate) fn new() -> Self {
        Self(Problem::new(ErrorCode::InvalidRequest, "Some fields cannot be read."))
    }

    /// The value, or nothing after noting what is wrong at its place.
    pub(crate) fn at<T>(&mut self, pointer: &str, read: Result<T, impl Display>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(why) => {
                let problem = std::mem::replace(&mut self.0, Problem::of(ErrorCode::InvalidRequest));
                self.0 = problem.at(pointer, why.to_string());
                None
            }
        }
    }

    /// Whether all was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.errors.is_empty()
    }

    /// What to show at the fields.
    pub(crate) fn error(self) -> ApiError {
        ApiError::local(self.0)
    }
}
