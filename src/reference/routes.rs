//! Routes. The routers are functions and cannot be asked, so this is a table; tests hold it to
//! them from both sides.

use super::{Page, code};
use crate::api::unsupported;

/// One route, and what it is for. With `twin` it exists below `/no-tools` as well.
struct Route {
    method: &'static str,
    path: &'static str,
    twin: bool,
    about: &'static str,
}

const fn route(method: &'static str, path: &'static str, about: &'static str) -> Route {
    Route { method, path, twin: false, about }
}

const fn twin(method: &'static str, path: &'static str, about: &'static str) -> Route {
    Route { twin: true, ..route(method, path, about) }
}

const PUBLIC: &[Route] = &[
    route("GET", "/", "a page that says what this is"),
    route("GET", "/healthz", "a sign of life, with the version"),
];

const PROTECTED: &[Route] = &[
    twin("POST", "/v1/responses", "an answer, in the dialect of Responses"),
    twin("POST", "/v1/responses/compact", "a dialogue made shorter"),
    twin("POST", "/v1/chat/completions", "an answer, in the dialect of Chat Completions"),
    twin("POST", "/v1/completions", "an answer, in the older dialect"),
    twin("GET", "/v1/models", "the models that the login may use"),
    twin("GET", "/v1/models/{id}", "one of them"),
    route("GET", "/v1/relay/status", "settings, login, limits and log"),
];

pub fn page() -> String {
    let mut page = Page::new(
        "Routes",
        "Everything below `/v1/` and `/no-tools/v1/` needs the relay token.\n\
         [API](../api.md) says how the routes behave.",
    );
    page.heading("Public");
    page.table(["method", "path", "answer"], PUBLIC.iter().map(row));
    page.heading("Protected");
    page.table(["method", "path", "answer"], PROTECTED.iter().map(row));
    page.heading("Without tools");
    page.paragraph(
        "The same, except that whatever declares or chooses a tool is refused with 422.",
    );
    let twins = PROTECTED.iter().filter(|route| route.twin).map(|route| {
        let [method, path, about] = row(route);
        [method, path.replacen('/', "/no-tools/", 1), about]
    });
    page.table(["method", "path", "answer"], twins);
    page.heading("Not here");
    page.paragraph("These answer 501 `unsupported_route`, whatever the method.");
    page.table(["path"], unsupported::PATHS.iter().map(|path| [code(path)]));
    page.finish()
}

fn row(route: &Route) -> [String; 3] {
    [route.method.to_owned(), code(route.path), route.about.to_owned()]
}
