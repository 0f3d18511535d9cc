//! What there was and what there is, key by key.

use super::SelectError;
use super::chosen::{Chosen, Keys, Wanted};
use super::run::Work;
use crate::remote::{Class, RemoteError, ReplicaPage, ReplicaStat, Verb};
use std::collections::VecDeque;

/// A key, as the store named it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    /// `None`: there was nothing then.
    pub(super) wanted: Option<Wanted>,
    /// What can be read at the target now.
    pub(super) now: Option<ReplicaStat>,
}

/// Two listings in byte order, read side by side: nothing is held but a page of each.
pub(super) struct Join<'a> {
    work: &'a Work,
    chosen: Chosen,
    there: There,
    wanted: Option<Wanted>,
    has_begun: bool,
}

/// The target's listing.
#[derive(Debug)]
struct There {
    /// What stands before the keys there.
    into: String,
    keys: Keys,
    read: VecDeque<(String, ReplicaStat)>,
    after: Option<String>,
    is_over: bool,
}

impl<'a> Join<'a> {
    pub(super) fn new(work: &'a Work, chosen: Chosen) -> Self {
        let there = There {
            into: work.settings.into_prefix.clone(),
            keys: work.selection.keys.clone(),
            read: VecDeque::new(),
            after: None,
            is_over: false,
        };
        Self { work, chosen, there, wanted: None, has_begun: false }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Pair>, SelectError> {
        if !self.has_begun {
            self.has_begun = true;
            self.wanted = self.chosen.next().await?;
        }
        self.there.fill(self.work).await?;
        let now = self.there.read.front();
        let Some(wanted) = &self.wanted else {
            return Ok(self.there.read.pop_front().map(|(key, now)| Pair {
                key,
                wanted: None,
                now: Some(now),
            }));
        };
        let key = wanted.key.to_text().into_owned();
        if now.is_some_and(|(there, _)| *there < key) {
            return Ok(self.there.read.pop_front().map(|(key, now)| Pair {
                key,
                wanted: None,
                now: Some(now),
            }));
        }
        let is_both = now.is_some_and(|(there, _)| *there == key);
        let now = if is_both { self.there.read.pop_front().map(|(_, now)| now) } else { None };
        let next = self.chosen.next().await?;
        Ok(Some(Pair { key, wanted: std::mem::replace(&mut self.wanted, next), now }))
    }
}

impl There {
    /// Until a key is at hand, or there is none.
    async fn fill(&mut self, work: &Work) -> Result<(), SelectError> {
        while self.read.is_empty() && !self.is_over {
            let (prefix, after) = (format!("{}{}", self.into, self.keys.prefix()), self.after.clone());
            let page =
                work.patiently(async || Ok(work.parts.sink.list(&prefix, after.as_deref()).await?)).await?;
            self.take(&prefix, page)?;
        }
        Ok(())
    }

    /// In another order than that of bytes it would pass for something else than it is.
    fn take(&mut self, prefix: &str, page: ReplicaPage) -> Result<(), SelectError> {
        let wrong = |key: &str| {
            let why = format!("it lists `{key}` out of its order, or again");
            SelectError::Target(RemoteError::new(Class::Unsupported, Verb::List, prefix, why))
        };
        self.is_over = page.next.is_none();
        for (key, stat) in page.objects {
            let own = key.strip_prefix(self.into.as_str()).filter(|_| key.starts_with(prefix));
            let own = own.filter(|_| self.after.as_ref().is_none_or(|after| *after < key));
            let own = own.ok_or_else(|| wrong(&key))?.to_owned();
            self.after = Some(key);
            if self.keys.hold(&own) {
                self.read.push_back((own, stat));
            } else {
                // A single key comes before all others that begin so.
                self.is_over = true;
                break;
            }
        }
        Ok(())
    }
}
