//! `GET /docs`: the API's description for people, who can try it there. It is Swagger UI, taken from a crate when this
//! was built (`build.rs`), so that nothing comes from another host.

use axum::{
    extract::Path,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Redirect, Response},
};

use crate::{
    problem::Problem,
    served::{File, file},
};

/// The page. What it loads is named from where it is, so that it works under a stage of API Gateway's too.
const PAGE: &str = include_str!("docs/page.html");

/// What a browser is allowed to do for the page. Swagger UI sets styles from its code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What lies beside it.
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

/// `GET /docs/`: what the page loads is named from `/docs`, so the browser has to go there.
pub(crate) async fn without_slash() -> Redirect {
    Redirect::permanent("../docs")
}

/// `GET /docs/{file}`: what the page loads.
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
