//! S3: objects by bucket and key, and the few calls that Weir makes, in S3's own form.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

/// A call to S3.
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    bucket: String,
    key: String,
    query: BTreeMap<String, String>,
}

#[derive(Default)]
pub(crate) struct Objects {
    buckets: BTreeMap<String, BTreeMap<String, Bytes>>,
}

impl Call {
    /// Reads a call with the bucket in its path.
    pub(crate) fn read(method: &str, uri: &str) -> Self {
        let path = uri.split_once("://").unwrap().1.split_once('/').unwrap().1;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let text = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let operation = match (method, query.get("x-id").map(String::as_str)) {
            ("GET", Some("GetObject")) => "GetObject",
            ("PUT", Some("PutObject")) => "PutObject",
            ("GET", None) if query.contains_key("list-type") => "ListObjectsV2",
            _ => panic!("S3 has no {method} {uri} here"),
        };
        Self { operation, bucket: text(bucket), key: text(key), query }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}/{}", self.operation, self.bucket, self.key)
    }
}

impl Objects {
    pub(crate) fn put(&mut self, bucket: &str, key: &str, object: Bytes) {
        self.buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), object);
    }

    /// A bucket's objects.
    pub(crate) fn of(&self, bucket: &str) -> BTreeMap<String, Bytes> {
        self.buckets.get(bucket).cloned().unwrap_or_default()
    }

    /// Does a call; answers with the status and the body.
    pub(crate) fn call(&mut self, call: &Call, body: &[u8]) -> (u16, Bytes) {
        match call.operation {
            "PutObject" => {
                self.put(&call.bucket, &call.key, Bytes::copy_from_slice(body));
                (200, Bytes::new())
            }
            "GetObject" => match self.buckets.get(&call.bucket).and_then(|bucket| bucket.get(&call.key)) {
                Some(object) => (200, object.clone()),
                None => (404, error("NoSuchKey")),
            },
            _ => (200, self.list(call)),
        }
    }

    fn list(&self, call: &Call) -> Bytes {
        let value = |name: &str| call.query.get(name).map(String::as_str).unwrap_or_default();
        let most = value("max-keys").parse().unwrap_or(1000);
        let keys = self.buckets.get(&call.bucket).into_iter().flat_map(BTreeMap::keys);
        let mut keys =
            keys.filter(|key| key.starts_with(value("prefix")) && key.as_str() > value("start-after"));
        let page: String = keys
            .by_ref()
            .take(most)
            .map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>"))
            .collect();
        let more = keys.next().is_some();
        format!("<ListBucketResult>{page}<IsTruncated>{more}</IsTruncated></ListBucketResult>").into()
    }
}

/// An error's body.
pub(crate) fn error(code: &str) -> Bytes {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>").into()
}
