//! Listing current objects, versions 1 and 2 of the operation alike.

use super::super::tokens::text;
use super::super::{Action, Caller, ListToken, ObjectService, ServiceError};
use super::{PageLimit, after_marker, delimiter};
use crate::meta::{ListEntry, ListFrom, ListQuery, ListedObject};
use crate::types::{AccountId, BucketName};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListObjectsRequest {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub start: ObjectsStart,
    pub maximum: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ObjectsStart {
    #[default]
    Beginning,
    /// `marker` of version 1, `start-after` of version 2: a key, which need not exist, or a common prefix.
    After(String),
    Token(ListToken),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsPage {
    /// Who owns the bucket, and so what is in it. `None`: the root user.
    pub owner: Option<AccountId>,
    pub objects: Vec<ListedObject>,
    pub common_prefixes: Vec<String>,
    /// Where the next page begins: version 2's token. `None`: this was the last page.
    pub next: Option<ListToken>,
    /// Version 1's marker: only with a delimiter, as AWS does; else clients continue behind the last key.
    pub next_marker: Option<String>,
    /// The limit that was applied.
    pub maximum: usize,
}

impl ObjectService {
    /// # Errors
    /// `NoSuchBucket`, `InvalidArgument`.
    pub async fn list_objects(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        request: ListObjectsRequest,
    ) -> Result<ObjectsPage, ServiceError> {
        let home = self.inner.allowed(caller, Action::ListBucket, bucket).await?;
        let limit = PageLimit::KEYS.of(request.maximum)?;
        let delimiter = delimiter(request.delimiter.as_deref());
        let from = match request.start {
            ObjectsStart::Beginning => ListFrom::Start,
            ObjectsStart::After(marker) => after_marker(&request.prefix, delimiter.as_deref(), &marker),
            ObjectsStart::Token(token) => token.into_from(),
        };
        let delimited = delimiter.is_some();
        let query = ListQuery { prefix: request.prefix.into_bytes(), delimiter, from, limit };
        let page = self.inner.meta.list_objects(home.id, query).await?;

        let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                ListEntry::Object(object) => objects.push(object),
                ListEntry::CommonPrefix(prefix) => common_prefixes.push(text(&prefix)),
            }
        }
        let next = page.next.and_then(ListToken::from_next);
        let next_marker = next.as_ref().filter(|_| delimited).map(ListToken::marker);
        Ok(ObjectsPage { owner: home.owner, objects, common_prefixes, next, next_marker, maximum: limit })
    }
}
