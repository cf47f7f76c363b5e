//! `POST /v1/apps/{app}/batch`: publish several messages, to one channel or many.
//!
//! Every message has its own result; there is no all or nothing. Messages for one channel are published in the order
//! in which they stand, each after the one before it was answered; channels do not wait for each other.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Request, State};
use fanfare_api::ProblemDocument;
use fanfare_api::data::{BatchRequest, BatchResult, MessageResult};
use fanfare_core::{ChannelName, Draft, ErrorCode, Limit, Limits, Problem};
use fanfare_protocol::draft::{self, Publication};
use futures_util::future::join_all;

use crate::body;
use crate::caller::Caller;
use crate::context::Context;
use crate::failure::Failure;
use crate::publish::view;

/// Publish several messages
///
/// Each message names its channel and has a result of its own at the same place of the answer. Messages of one channel
/// keep their order. With ids of their own a whole batch can be repeated safely.
#[utoipa::path(
    post,
    path = "/v1/apps/{app}/batch",
    operation_id = "publish_batch",
    tag = "Messages",
    params(("app" = String, Path, description = "The app's id.")),
    request_body = BatchRequest,
    responses(
        (status = 200, description = "What became of each message.", body = BatchResult),
        (status = "default", description = "Nothing was published.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn batch(
    State(context): State<Context>,
    Caller(caller): Caller,
    request: Request,
) -> Result<Json<BatchResult>, Failure> {
    let app = caller.app();
    let bytes_max = bound(&app.limits, Limit::BatchBytes);
    let body = body::read(request, bytes_max, &context.options).await?;
    let batch = draft::parse_batch(&body, bound(&app.limits, Limit::BatchMessages))?;
    let mut results: Vec<Option<MessageResult>> = batch.iter().map(|_| None).collect();
    let mut channels: HashMap<ChannelName, Vec<(usize, Draft)>> = HashMap::new();
    for (index, item) in batch.into_iter().enumerate() {
        match item {
            Ok(Publication { channel, draft }) => channels.entry(channel).or_default().push((index, draft)),
            Err(problem) => results[index] = Some(refused(*problem, &context)),
        }
    }
    check_channels(channels.len(), bound(&app.limits, Limit::BatchChannels))?;
    let publishes = channels.into_iter().map(async |(channel, drafts)| {
        let mut done = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts {
            let result = match context.node.publish(&caller, &channel, draft).await {
                Ok(published) => MessageResult::Ok(view(published)),
                Err(error) => refused(error.problem(), &context),
            };
            done.push((index, result));
        }
        done
    });
    for (index, result) in join_all(publishes).await.into_iter().flatten() {
        results[index] = Some(result);
    }
    Ok(Json(BatchResult { results: results.into_iter().flatten().collect() }))
}

fn refused(problem: Problem, context: &Context) -> MessageResult {
    MessageResult::Error(Box::new(ProblemDocument::new(problem, &context.options.docs_url)))
}

fn bound(limits: &Limits, limit: Limit) -> usize {
    usize::try_from(limits.get(limit).max).unwrap_or(usize::MAX)
}

fn check_channels(count: usize, max: usize) -> Result<(), Failure> {
    if count <= max {
        return Ok(());
    }
    let detail = format!("A batch reaches at most {max} channels, not {count}.");
    let problem = Problem::new(ErrorCode::InvalidRequest, detail.clone()).at("/messages", detail);
    Err(problem.limit(Limit::BatchChannels).into())
}
