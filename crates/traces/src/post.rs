//! Sends spans: one POST on a connection of its own. Between two of them the process may be frozen, as Lambda does with its
//! functions, and a connection would not outlive that.

use std::{error::Error, io, pin::pin};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, StatusCode, Uri,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why a collector did not accept spans.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(#[source] Box<dyn Error + Send + Sync>),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("it took too long")]
    TooSlow,
}

/// Posts JSON.
pub(crate) async fn post(
    endpoint: &Uri,
    headers: &[(HeaderName, HeaderValue)],
    body: Vec<u8>,
) -> Result<(), PostError> {
    // An IPv6 address has brackets in a URI, and none everywhere else.
    let host = endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, endpoint.port_u16().unwrap_or(80)));
    let stream = stream.await.map_err(PostError::Connect)?;
    let broken = |error: hyper::Error| PostError::Http(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = endpoint.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(HOST, endpoint.authority().map_or("", |authority| authority.as_str()))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| PostError::Http(error.into()))?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request.headers_mut().extend(headers.iter().cloned());
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    // The connection moves only while it is polled.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(broken)?;
            answer.await
        }
    };
    match answer.map_err(broken)?.status() {
        status if status.is_success() => Ok(()),
        status => Err(PostError::Refused(status)),
    }
}
