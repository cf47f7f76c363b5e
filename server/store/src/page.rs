//! Pages of a list: every list is read in bounded parts, each continued by the cursor of the one before.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::StoreError;

/// The most items of one page.
pub const PAGE_MAX: u32 = 100;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// [`Page::next`] of the page before; without it the list starts.
    pub after: Option<String>,
    /// How many items; brought into 1 to [`PAGE_MAX`], 50 when absent.
    pub limit: Option<u32>,
}

/// A part of a list, and where the next part starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The same page with other items.
    #[must_use]
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

/// What a statement for one page takes. One row more than asked for is read: it tells whether there is a next page.
///
/// Cursors are the last row's place and are not signed: row-level security bounds what any place can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<const N: usize> {
    pub(crate) after: Option<[u8; N]>,
    limit: u32,
}

impl<const N: usize> Part<N> {
    pub(crate) fn of(request: &PageRequest) -> Result<Self, StoreError> {
        let after = request.after.as_deref().map(decode).transpose()?;
        Ok(Self { after, limit: request.limit.unwrap_or(50).clamp(1, PAGE_MAX) })
    }

    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(crate) fn page<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> [u8; N]) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(place(last)));
        Page { items: rows, next }
    }
}

fn decode<const N: usize>(cursor: &str) -> Result<[u8; N], StoreError> {
    // The length is checked first so that an endless cursor costs nothing.
    let bytes = (cursor.len() <= 64).then(|| URL_SAFE_NO_PAD.decode(cursor).ok()).flatten();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(StoreError::InvalidCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(after: Option<String>, limit: Option<u32>) -> Result<Part<8>, StoreError> {
        Part::of(&PageRequest { after, limit })
    }

    #[test]
    fn a_page_says_where_the_next_one_starts() {
        let first = part(None, Some(2)).expect("valid");
        assert_eq!(first.rows(), 3);
        let page = first.page(vec![1_u64, 2, 3], |row| row.to_be_bytes());
        assert_eq!(page.items, [1, 2]);
        let next = part(page.next, Some(2)).expect("a cursor given out is valid");
        assert_eq!(next.after, Some(2_u64.to_be_bytes()));
        assert_eq!(next.page(vec![3_u64], |row| row.to_be_bytes()).next, None);
    }

    #[test]
    fn limits_are_brought_into_bounds_and_cursors_checked() {
        assert_eq!(part(None, Some(0)).expect("valid").rows(), 2);
        assert_eq!(part(None, Some(u32::MAX)).expect("valid").rows(), i64::from(PAGE_MAX) + 1);
        for cursor in ["", "x", "AAAAAAAAAAAAAA", &"A".repeat(1_000_000)] {
            assert!(matches!(part(Some(cursor.to_owned()), None), Err(StoreError::InvalidCursor)));
        }
    }
}
