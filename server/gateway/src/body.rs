//! Bodies of requests: bounded in bytes and in time.

use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use fanfare_api::server::{ApiProblem, json_body, json_lines_body};
use fanfare_core::{ErrorCode, Problem};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::options::Options;

/// Reads a body of JSON that has at most so many bytes and arrives in time.
pub(crate) async fn read(request: Request, bytes_max: usize, options: &Options) -> Result<Bytes, Failure> {
    in_time(json_body(request, bytes_max), options).await
}

/// Reads a body of lines of JSON alike.
pub(crate) async fn read_lines(request: Request, bytes_max: usize, options: &Options) -> Result<Bytes, Failure> {
    in_time(json_lines_body(request, bytes_max), options).await
}

async fn in_time(body: impl Future<Output = Result<Bytes, ApiProblem>>, options: &Options) -> Result<Bytes, Failure> {
    match timeout(Duration::from_millis(options.body_timeout_ms), body).await {
        Ok(body) => Ok(body?),
        Err(_) => {
            let detail = format!("The body did not arrive within {} ms.", options.body_timeout_ms);
            Err(Problem::new(ErrorCode::InvalidRequest, detail).into())
        }
    }
}
