//! `GET /weir.js`: the script with which a web page sends events.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};

use crate::{
    api::problem::Problem,
    pages::served::{File, file},
};

const WEIR_JS: File = file!("text/javascript", "weir.js");

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// `GET /weir.js`.
pub(crate) async fn weir_js(asked: HeaderMap) -> Result<Response, Problem> {
    let mut answer = WEIR_JS.answer(&asked)?;
    // The script is there for pages of other origins.
    answer.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_loads_it_in_one_and_a_half_kilobytes() {
        assert!(WEIR_JS.gzip.len() <= 1536, "{} bytes", WEIR_JS.gzip.len());
    }
}
