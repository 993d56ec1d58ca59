//! Calls of S3 for the objects of one bucket, without the SDK's client for S3.
//!
//! `signed_calls` says why. The keys of objects are of characters that need no escape in a URL.

use std::ops::Range;

use aws_config::SdkConfig;
use aws_runtime::auth::SigningOptions;
use aws_smithy_runtime_api::client::{
    orchestrator::{HttpResponse, OrchestratorError},
    result::SdkError,
};
use aws_smithy_types::error::ErrorMetadata;
use bytes::Bytes;
use weir_core::ports::PortError;

use crate::{
    errors::port_error,
    signed_calls::{Calls, Content, Request, Service, domain},
};

/// A call of S3.
#[derive(Debug)]
pub(crate) struct Call {
    method: &'static str,
    /// The object's key, or the query of a call for the bucket.
    target: String,
    range: Option<Range<u64>>,
    content: Bytes,
}

impl Call {
    fn new(method: &'static str, target: &str) -> Self {
        Self { method, target: target.to_owned(), range: None, content: Bytes::new() }
    }

    /// Puts an object.
    pub(crate) fn put(key: &str, content: Bytes) -> Self {
        Self { content, ..Self::new("PUT", key) }
    }

    /// Reads an object.
    pub(crate) fn get(key: &str) -> Self {
        Self::new("GET", key)
    }

    /// Reads some bytes of an object, one at least.
    pub(crate) fn get_range(key: &str, range: Range<u64>) -> Self {
        Self { range: Some(range), ..Self::new("GET", key) }
    }

    /// Asks for the size of an object.
    pub(crate) fn head(key: &str) -> Self {
        Self::new("HEAD", key)
    }

    /// Removes an object.
    pub(crate) fn delete(key: &str) -> Self {
        Self::new("DELETE", key)
    }

    /// Lists the objects below a prefix of the lake: the first thousand.
    pub(crate) fn list_objects(prefix: &str) -> Self {
        let prefix = prefix.replace('/', "%2F").replace('=', "%3D");
        Self::new("GET", &format!("?list-type=2&prefix={prefix}"))
    }

    fn request(self, folder: &str) -> Request {
        let Self { method, target, range, content } = self;
        let mut headers = Vec::new();
        if method == "PUT" {
            headers.push(("content-length", content.len().to_string()));
            headers.push(("content-type", "application/json".to_owned()));
        }
        if let Some(Range { start, end }) = range {
            headers.push(("range", format!("bytes={start}-{}", end.saturating_sub(1))));
        }
        Request { method, target: format!("{folder}/{target}"), headers, content }
    }

    /// Lists the folders below a prefix, after the key `after` if there is one.
    pub(crate) fn list_folders(prefix: &str, after: Option<&str>) -> Self {
        let escaped = |key: &str| key.replace('/', "%2F");
        let mut query = format!("?delimiter=%2F&list-type=2&prefix={}", escaped(prefix));
        if let Some(after) = after {
            query += &format!("&start-after={}", escaped(after));
        }
        Self::new("GET", &query)
    }
}

/// A bucket.
#[derive(Clone)]
pub(crate) struct S3Calls {
    calls: Calls,
    /// The path of the bucket, where its name is not in the host's.
    folder: String,
}

impl S3Calls {
    pub(crate) fn new(config: &SdkConfig, bucket: &str) -> Self {
        Self::with(config, bucket, content)
    }

    /// Makes calls for the sizes of objects ([`Call::head`]), which are the contents of their answers.
    pub(crate) fn of_sizes(config: &SdkConfig, bucket: &str) -> Self {
        Self::with(config, bucket, size)
    }

    fn with(config: &SdkConfig, bucket: &str, content: Content) -> Self {
        // An endpoint other than S3's own has no host name for each bucket.
        let (endpoint, folder) = match (config.endpoint_url(), config.region().map_or("", |it| it.as_ref())) {
            (Some(endpoint), _) => (endpoint.trim_end_matches('/').to_owned(), format!("/{bucket}")),
            (None, region) => (format!("https://{bucket}.s3.{region}.{}", domain(region)), String::new()),
        };
        let mut options = SigningOptions::default();
        options.double_uri_encode = false;
        options.content_sha256_header = true;
        options.normalize_uri_path = false;
        let service = Service { name: "S3", signed_as: "s3", endpoint: &endpoint, options };
        Self { calls: service.calls(config, content), folder }
    }

    /// Makes a call; returns the content of its answer.
    pub(crate) async fn invoke(&self, call: Call) -> Result<Bytes, SdkError<ErrorMetadata, HttpResponse>> {
        self.calls.invoke(call.request(&self.folder)).await
    }

    /// Reads an object, or a part of it; `None` if the object does not exist.
    pub(crate) async fn find(&self, call: Call, what: &'static str) -> Result<Option<Bytes>, PortError> {
        self.unless(&["NoSuchKey"], call, what).await
    }

    /// Reads an object whose name comes from a client; `None` if it does not exist, or may not be read. Without the right to
    /// list the whole bucket, S3 may say one for the other, and no client can be let make an error of each.
    pub(crate) async fn find_named(
        &self,
        call: Call,
        what: &'static str,
    ) -> Result<Option<Bytes>, PortError> {
        self.unless(&["NoSuchKey", "AccessDenied"], call, what).await
    }

    /// Reads or lists objects of a bucket that need not exist; `None` if there is no bucket that Weir may read.
    pub(crate) async fn find_in_bucket(
        &self,
        call: Call,
        what: &'static str,
    ) -> Result<Option<Bytes>, PortError> {
        self.unless(&["NoSuchBucket", "AccessDenied"], call, what).await
    }

    async fn unless(
        &self,
        codes: &[&str],
        call: Call,
        what: &'static str,
    ) -> Result<Option<Bytes>, PortError> {
        match self.invoke(call).await {
            Ok(content) => Ok(Some(content)),
            Err(SdkError::ServiceError(answer))
                if answer.err().code().is_some_and(|it| codes.contains(&it)) =>
            {
                Ok(None)
            }
            Err(error) => Err(port_error(what, &error)),
        }
    }
}

/// Returns the size of an object by the answer's head, or the code of an error, of which the head has the status only.
fn size(answer: &HttpResponse) -> Result<Bytes, OrchestratorError<ErrorMetadata>> {
    if answer.status().is_success() {
        return Ok(Bytes::from(answer.headers().get("content-length").unwrap_or_default().to_owned()));
    }
    let code = match answer.status().as_u16() {
        404 => "NoSuchKey",
        403 => "AccessDenied",
        _ => "Unknown",
    };
    Err(OrchestratorError::operation(ErrorMetadata::builder().code(code).build()))
}

/// Returns the content of an answer, or the code of an error.
fn content(answer: &HttpResponse) -> Result<Bytes, OrchestratorError<ErrorMetadata>> {
    let body = answer.body().bytes().unwrap_or_default();
    if answer.status().is_success() {
        return Ok(Bytes::copy_from_slice(body));
    }
    let text = String::from_utf8_lossy(body);
    let member = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let mut error = ErrorMetadata::builder();
    if let Some(code) = member("Code") {
        error = error.code(code);
    }
    if let Some(message) = member("Message") {
        error = error.message(message);
    }
    Err(OrchestratorError::operation(error.build()))
}
