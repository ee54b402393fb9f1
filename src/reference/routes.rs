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
    twin("GET", "/v1/responses/{response_id}", "an answer that is kept, or its events"),
    twin("DELETE", "/v1/responses/{response_id}", "one answer less"),
    twin("GET", "/v1/responses/{response_id}/input_items", "what it answers, a page at a time"),
    twin("POST", "/v1/responses/{response_id}/cancel", "the end of one that is being made"),
    twin("GET", "/v1/chat/completions", "chat completions that are kept, a page at a time"),
    twin("GET", "/v1/chat/completions/{completion_id}", "one of them"),
    twin("POST", "/v1/chat/completions/{completion_id}", "its metadata, changed"),
    twin("DELETE", "/v1/chat/completions/{completion_id}", "one chat completion less"),
    twin("GET", "/v1/chat/completions/{completion_id}/messages", "what it answers"),
    twin("POST", "/v1/completions", "an answer, in the older dialect"),
    route("POST", "/v1/images/generations", "pictures made from words"),
    route("POST", "/v1/images/edits", "pictures made from others"),
    twin("GET", "/v1/models", "the models that the login may use"),
    twin("GET", "/v1/models/{id}", "one of them"),
    twin("POST", "/v1/files", "a file, kept on this machine"),
    twin("GET", "/v1/files", "the files, a page at a time"),
    twin("GET", "/v1/files/{file_id}", "what is known of one"),
    twin("GET", "/v1/files/{file_id}/content", "its content, or a range of it"),
    twin("DELETE", "/v1/files/{file_id}", "one file less"),
    twin("POST", "/v1/conversations", "a dialogue that the relay remembers"),
    twin("GET", "/v1/conversations/{conversation_id}", "what is known of one"),
    twin("POST", "/v1/conversations/{conversation_id}", "its metadata, changed"),
    twin("DELETE", "/v1/conversations/{conversation_id}", "one dialogue less, with all its items"),
    twin("GET", "/v1/conversations/{conversation_id}/items", "what was said, a page at a time"),
    twin("POST", "/v1/conversations/{conversation_id}/items", "items added, up to 20"),
    twin("GET", "/v1/conversations/{conversation_id}/items/{item_id}", "one item"),
    twin("DELETE", "/v1/conversations/{conversation_id}/items/{item_id}", "one item less"),
    route("GET", "/v1/relay/status", "settings, login, limits and log"),
    route("GET", "/v1/subscription/status", "what is left of an account, or of all"),
    route("GET", "/v1/account/rate_limits", "the same"),
    route("GET", "/v1/relay/requests/{id}/explain", "why a request went where it went"),
    route("GET", "/v1/relay/balance", "the policy, as AIRelays 0.22 has it"),
    route("PUT", "/v1/relay/balance", "another policy: `{\"openai\": NAME}`"),
    route("POST", "/v1/relay/accounts/refresh", "the same as `/admin/refresh-usage`"),
    route("GET", "/v1/relay/accounts/resets", "usage resets that the upstream grants"),
    route("POST", "/v1/relay/accounts/resets/redeem", "one of them, used"),
    route("GET", "/admin/slots", "all slots: state, reason, windows, load"),
    route("POST", "/admin/slots/{id}/{action}", "`enable`, `disable`, `pause`, `resume`, `clear`"),
    route(
        "POST",
        "/admin/slots/{id}/test",
        "one prompt through this slot: `{\"prompt\", \"model\"}`",
    ),
    route("GET", "/admin/policy", "the policy and its alternatives"),
    route("PUT", "/admin/policy", "another policy: `{\"policy\": NAME}`"),
    route("POST", "/admin/refresh-usage", "what is left of every slot, asked for now"),
    route("GET", "/admin/stats", "counters and the latest requests"),
    route("GET", "/admin/dependency-map", "what each part stands on"),
    route("GET", "/admin/config", "the settings, without secrets"),
];

pub fn page() -> String {
    let mut page = Page::new(
        "Routes",
        "Everything below `/v1/`, `/no-tools/v1/` and `/admin/` needs the relay token.\n\
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
