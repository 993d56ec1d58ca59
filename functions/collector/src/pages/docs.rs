//! `GET /docs`: the API's description for people, with a form to try it. It is Swagger UI, taken from a crate at build time
//! (`build.rs`), so the page loads nothing from another host.

use axum::{
    extract::Path,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response},
};

use crate::{
    api::problem::Problem,
    pages::served::{File, file},
};

/// The page. Its links are relative to its own address, so it also works under a stage of API Gateway's.
const PAGE: &str = include_str!("docs/page.html");

/// The page's Content-Security-Policy. Swagger UI sets styles from its code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files that the page loads.
const BESIDE: [(&str, File); 4] = [
    ("swagger-ui-bundle.js", file!("text/javascript", "swagger-ui-bundle.js")),
    ("swagger-ui.css", file!("text/css", "swagger-ui.css")),
    ("start.js", file!("text/javascript", "start.js")),
    ("LICENSE", file!("text/plain", "LICENSE")),
];

/// `GET /docs`.
pub(crate) async fn page() -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(PAGE)).into_response()
}

/// `GET /docs/`: redirects to `/docs`, as the page's links are relative to it.
pub(crate) async fn without_slash() -> Redirect {
    Redirect::permanent("../docs")
}

/// `GET /docs/{file}`: a file that the page loads.
pub(crate) async fn beside(Path(file): Path<String>, asked: HeaderMap) -> Result<Response, Problem> {
    let found = BESIDE.into_iter().find(|(name, _)| *name == file);
    found.ok_or(Problem::NotFound)?.1.answer(&asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_comes_with_its_notice() {
        let (_, licence) = BESIDE.into_iter().find(|(name, _)| *name == "LICENSE").unwrap();
        let text = String::from_utf8(licence.plain().unwrap()).unwrap();
        assert!(text.starts_with("swagger-ui") && text.contains("Apache License"));
    }

    #[test]
    fn everything_that_the_page_loads_is_there_and_whole() {
        let loaded = PAGE.split('"').filter_map(|part| part.strip_prefix("docs/"));
        let loaded: Vec<&str> = loaded.collect();
        assert_eq!(loaded.len(), 3);
        for name in loaded {
            let (_, file) = BESIDE.into_iter().find(|(beside, _)| *beside == name).unwrap();
            assert!(file.plain().unwrap().len() > 100, "{name}");
        }
    }
}
