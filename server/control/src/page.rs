//! Pages of lists, between the words of the API and those of the store.

use fanfare_api::page::PAGE_MAX;
use fanfare_api::server::page_limit;
use fanfare_api::{Page, PageQuery};
use fanfare_store::PageRequest;

use crate::error::ControlError;

const DEFAULT: u32 = 50;

/// What the store is asked for.
pub(crate) fn request(query: PageQuery) -> Result<PageRequest, ControlError> {
    Ok(PageRequest { after: query.after, limit: Some(page_limit(query.limit, DEFAULT, PAGE_MAX)?) })
}

/// What is answered.
pub(crate) fn answer<T, U>(page: fanfare_store::Page<T>, view: impl FnMut(T) -> U) -> Page<U> {
    Page::part(page.items.into_iter().map(view).collect(), page.next)
}
