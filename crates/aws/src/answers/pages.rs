//! The pages of public answers, which a CDN reads: an object for each path and each slot.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use md5::{Digest, Md5};
use weir_core::{AnswerName, answers::page, ports::PortError};

use super::publish::S3AnswersAdmin;
use crate::errors::port_error;

const WHAT: &str = "putting the pages of an answer";

/// The most pages that are put or removed at once.
const CONCURRENT: usize = 64;

/// How long a CDN or a browser may keep a page. What was computed later is put in its place at any time.
const CACHED: &str = "public, max-age=60";

/// What is said where there is no page: the same as the API says.
const NONE: &str = r#"{"type":"urn:weir:problem:no-such-answer","title":"No such answer","status":404,"detail":"There is no such answer, or it has no such path or slot."}"#;

/// A page: the key of its object, and its content.
#[derive(Debug, Clone)]
pub struct Page {
    /// See [`page::key`].
    pub key: String,
    /// JSON.
    pub content: Bytes,
}

/// What became of the pages of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// How many there are.
    pub all: usize,
    /// How many of them are new or were changed.
    pub put: usize,
}

impl S3AnswersAdmin {
    /// Makes these the pages of an answer: puts those that differ from what is there, and then removes all others. Each page
    /// is replaced as a whole.
    pub async fn put_pages(
        &self,
        name: &AnswerName,
        pages: impl Iterator<Item = io::Result<Page>>,
    ) -> Result<Pages, PortError> {
        self.put_page(page::NONE, Bytes::from_static(NONE.as_bytes()), "application/problem+json").await?;
        let found = self.pages(name).await?;
        let (mut wanted, mut put) = (BTreeSet::new(), 0);
        let differing = pages.filter_map(|page| {
            let page = match page {
                Ok(page) => page,
                Err(error) => return Some(Err(PortError::unavailable(WHAT, error))),
            };
            // S3's tag of an object that was put as a whole is its MD5. Of any other, it differs, and the page is put again.
            let tag: String = Md5::digest(&page.content).iter().map(|byte| format!("{byte:02x}")).collect();
            let is_there = found.get(&page.key) == Some(&tag);
            wanted.insert(page.key.clone());
            put += usize::from(!is_there);
            (!is_there).then_some(Ok(page))
        });
        let putting = stream::iter(differing).try_for_each_concurrent(CONCURRENT, async |page| {
            self.put_page(&page.key, page.content, "application/json").await
        });
        putting.await?;
        let others = found.keys().filter(|key| !wanted.contains(*key)).map(Ok);
        let removing = stream::iter(others).try_for_each_concurrent(CONCURRENT, async |key| {
            let removed = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
            removed.map(|_| ()).map_err(|error| port_error(WHAT, &error))
        });
        removing.await?;
        Ok(Pages { all: wanted.len(), put })
    }

    /// Returns the pages that are there, and their tags.
    async fn pages(&self, name: &AnswerName) -> Result<BTreeMap<String, String>, PortError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(page::folder(name));
        let (mut found, mut pages) = (BTreeMap::new(), list.into_paginator().send());
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| port_error(WHAT, &error))?;
            found.extend(page.contents().iter().filter_map(|object| {
                let tag = object.e_tag().unwrap_or_default().trim_matches('"');
                Some((object.key()?.to_owned(), tag.to_owned()))
            }));
        }
        Ok(found)
    }

    async fn put_page(&self, key: &str, content: Bytes, kind: &str) -> Result<(), PortError> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).content_type(kind);
        let put = put.cache_control(CACHED).body(ByteStream::from(content)).send().await;
        put.map(|_| ()).map_err(|error| port_error(WHAT, &error))
    }
}
