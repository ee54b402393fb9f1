//! The floors of `docs/architecture.md`, held by a test.
//!
//! The tables are the architecture: changing one is a decision with an ADR, not a fix.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    File, expect_none,
    outside::{Named, code, paths},
    root, rust_files,
};

/// Modules that stand at the same height.
#[derive(Debug)]
struct Floor {
    name: &'static str,
    modules: &'static [&'static str],
    /// Whole floors that they may name.
    below: &'static [&'static str],
    /// What they may not name although it stands there.
    except: &'static [&'static str],
    /// Modules of their own floor that they may name.
    beside: &'static [&'static str],
}

/// Ground first.
const FLOORS: &[Floor] = &[
    Floor {
        name: "ground",
        modules: &["id", "object", "secret", "wire"],
        below: &[],
        except: &[],
        beside: &["id", "object", "secret"],
    },
    Floor {
        name: "domain",
        modules: &["address", "credential", "limit", "redact", "slot"],
        below: &["ground"],
        except: &[],
        beside: &[],
    },
    Floor {
        name: "adapters",
        modules: &[
            "clock",
            "keyring",
            "private_file",
            "transport",
            "auth",
            "relay_token",
            "roster",
            "sim",
            "store",
            "traffic",
            "upstream",
        ],
        below: &["ground", "domain"],
        except: &[],
        beside: &["clock", "keyring", "private_file", "transport"],
    },
    Floor {
        name: "use cases",
        modules: &["dialogue", "relay"],
        below: &["ground", "domain", "adapters"],
        except: &["sim"],
        beside: &[],
    },
    Floor {
        name: "surface",
        modules: &["api", "listen"],
        below: &["ground", "domain", "adapters", "use cases"],
        except: &["sim"],
        beside: &["api"],
    },
    Floor {
        name: "shell",
        modules: &["config", "describe", "app", "cli", "reference", "internals"],
        below: &["ground", "domain", "adapters", "use cases", "surface"],
        except: &[],
        beside: &["config", "describe", "app", "cli"],
    },
];

/// What stands outside, and the modules that may use it, whole or in part. What is not listed is
/// free to all but the ground and the domain.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("aws_lc_rs", &["auth::sealed", "listen"]),
    ("axum", &["api", "listen", "app", "reference", "sim"]),
    ("clap", &["cli"]),
    ("hyper", &["auth::callback", "listen"]),
    ("reqwest", &["transport"]),
    ("rusqlite", &["store"]),
    ("secret_service", &["keyring"]),
    ("tokio_rustls", &["listen"]),
    ("toml", &["config"]),
    ("zbus", &["keyring"]),
];

/// What the ground and the domain do without: the world, and waiting for it.
const WORLD: &[&str] = &[
    "axum",
    "hyper",
    "hyper_util",
    "reqwest",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "tempfile",
    "tokio",
    "tokio_util",
    "tower",
];

/// The table as it stands in `docs/architecture.md`.
pub fn table() -> String {
    let list = |names: &[&str]| -> String {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let or_none = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    let mut table = "| floor | modules | may name of the floors below | may name beside it |\n\
                     |---|---|---|---|\n"
        .to_owned();
    for (number, floor) in FLOORS.iter().enumerate() {
        let mut below = floor.below.join(", ");
        if !floor.except.is_empty() {
            below = format!("{below}; not {}", list(floor.except));
        }
        let row = format!(
            "| {number} {} | {} | {} | {} |\n",
            floor.name,
            list(floor.modules),
            or_none(below),
            or_none(list(floor.beside)),
        );
        table.push_str(&row);
    }
    table
}

fn floor_of(module: &str) -> Option<&'static Floor> {
    FLOORS.iter().find(|floor| floor.modules.contains(&module))
}

fn may_name(floor: &Floor, other: &str) -> bool {
    let is_below = floor_of(other).is_some_and(|theirs| floor.below.contains(&theirs.name));
    is_below && !floor.except.contains(&other) || floor.beside.contains(&other)
}

/// The top-level module that `path` belongs to; `None` for the roots of the library and the binary.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let module = inside.split('/').next()?.trim_end_matches(".rs");
    (!matches!(module, "lib" | "main")).then_some(module)
}

/// How many modules deep the file is: 1 for a top-level module.
fn depth_of(path: &str) -> usize {
    path.split('/').count() - 1
}

/// The top-level module that a path leads to, if it leaves its own.
fn target(named: &Named, depth: usize) -> Option<&str> {
    let supers = named.path.iter().take_while(|segment| *segment == "super").count();
    match named.path.first().map(String::as_str) {
        Some("crate") => named.path.get(1).map(String::as_str),
        Some("super") if supers >= depth + named.inline.len() => {
            named.path.get(supers).map(String::as_str)
        }
        _ => None,
    }
}

/// The modules of the crate that a file names, its own excepted.
fn named_modules(path: &str, text: &str) -> BTreeSet<String> {
    let own = module_of(path);
    let depth = depth_of(path);
    paths(&code(text))
        .iter()
        .filter_map(|named| target(named, depth))
        .filter(|module| Some(*module) != own)
        .map(str::to_owned)
        .collect()
}

fn check_floors(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module_of(path) else { return Vec::new() };
    let Some(floor) = floor_of(module) else {
        return vec![format!("{path}: the module `{module}` has no floor")];
    };
    named_modules(path, text)
        .into_iter()
        .filter(|other| !may_name(floor, other))
        .map(|other| format!("{path}: `{module}` ({}) names `{other}`", floor.name))
        .collect()
}

/// The file is the module `name`, such as `auth::callback`, or in it.
fn is_within(path: &str, name: &str) -> bool {
    let place = format!("src/{}", name.replace("::", "/"));
    let rest = path.strip_prefix(&place);
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Tests may use whatever they like.
fn check_outside(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module_of(path).filter(|_| !path.ends_with("/tests.rs")) else {
        return Vec::new();
    };
    let is_low = floor_of(module).is_some_and(|floor| ["ground", "domain"].contains(&floor.name));
    let code = code(text);
    let mut wrong = Vec::new();
    for named in paths(&code).iter().filter(|named| !named.inline.iter().any(|m| m == "tests")) {
        let path_of = named.path.join("::");
        let is = |outside: &str| path_of == outside || path_of.starts_with(&format!("{outside}::"));
        if is_low && (WORLD.iter().any(|outside| is(outside)) || is("async") || is("await")) {
            wrong.push(format!("{path}: `{module}` stands too low for `{path_of}`"));
        }
        for (outside, users) in OUTSIDE {
            let may_use = users.iter().any(|user| is_within(path, user));
            if named.path.len() > 1 && is(outside) && !may_use {
                wrong.push(format!("{path}: `{outside}` is for {users:?}, not for `{module}`"));
            }
        }
    }
    wrong.dedup();
    wrong
}

/// Modules that name each other in a circle, if there is one.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        at: &str,
        edges: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|passed| passed == at) {
            return Some(way[start..].to_vec());
        }
        way.push(at.to_owned());
        let found = edges.get(at).into_iter().flatten().find_map(|next| visit(next, edges, way));
        way.pop();
        found
    }
    edges.keys().find_map(|start| visit(start, edges, &mut Vec::new()))
}

fn sources() -> Vec<File> {
    rust_files().filter(|file| file.path.starts_with("src/")).collect()
}

#[test]
fn modules_name_only_what_their_floor_may() {
    let wrong: Vec<_> =
        sources().iter().flat_map(|file| check_floors(&file.path, &file.text)).collect();
    expect_none(&wrong);
}

#[test]
fn low_floors_do_without_the_world_and_each_outside_thing_has_its_place() {
    let wrong: Vec<_> =
        sources().iter().flat_map(|file| check_outside(&file.path, &file.text)).collect();
    expect_none(&wrong);
}

#[test]
fn no_modules_name_each_other_in_a_circle() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources() {
        if let Some(module) = module_of(&file.path) {
            let named = named_modules(&file.path, &file.text);
            edges.entry(module.to_owned()).or_default().extend(named);
        }
    }
    assert_eq!(circle(&edges), None);
}

#[test]
fn the_architecture_document_shows_this_table() {
    let path = root().join("docs/architecture.md");
    let text = std::fs::read_to_string(path).expect("docs/architecture.md");
    assert!(text.contains(&table()), "docs/architecture.md should show:\n\n{}", table());
}

#[test]
fn every_module_that_has_a_floor_exists() {
    let modules: BTreeSet<_> =
        sources().iter().filter_map(|file| module_of(&file.path).map(str::to_owned)).collect();
    for module in FLOORS.iter().flat_map(|floor| floor.modules) {
        assert!(modules.contains(*module), "`{module}` is in the table and not in src");
    }
}

#[test]
fn a_planted_edge_is_found() {
    let check = |path: &str, text: &str| check_floors(path, text).join("; ");
    for (path, text, expected) in [
        ("src/wire.rs", "use crate::limit::X;", "src/wire.rs: `wire` (ground) names `limit`"),
        ("src/id.rs", "use super::wire;", "src/id.rs: `id` (ground) names `wire`"),
        (
            "src/wire/sse.rs",
            "mod t { use super::super::super::api; }",
            "src/wire/sse.rs: `wire` (ground) names `api`",
        ),
        (
            "src/auth/file.rs",
            "use crate::{clock, upstream::Y};",
            "src/auth/file.rs: `auth` (adapters) names `upstream`",
        ),
        (
            "src/relay.rs",
            "fn f() { crate::sim::go() }",
            "src/relay.rs: `relay` (use cases) names `sim`",
        ),
        ("src/new.rs", "", "src/new.rs: the module `new` has no floor"),
        ("src/wire/reply.rs", "use crate::wire::sse; use super::sse; // crate::api", ""),
        ("src/sim.rs", "use crate::{clock::Clock, id};", ""),
        ("src/app.rs", "use crate::{sim, api, config};", ""),
        ("src/lib.rs", "use crate::anything;", ""),
    ] {
        assert_eq!(check(path, text), expected);
    }
}

#[test]
fn a_planted_dependency_is_found() {
    for (path, text, is_wrong) in [
        ("src/limit.rs", "use std::time::Instant;", false),
        ("src/limit.rs", "use std::{fs, io};", true),
        ("src/wire.rs", "async fn f() {}", true),
        ("src/wire.rs", "fn f() { g().await }", true),
        ("src/wire.rs", "/// `tokio::spawn` is not here.", false),
        ("src/traffic.rs", "use axum::Router;", true),
        ("src/auth/callback/page.rs", "use hyper::body::Body;", false),
        ("src/auth/browser.rs", "use hyper::body::Body;", true),
        ("src/api/router.rs", "use axum::Router;", false),
        ("src/upstream.rs", "fn f(x: reqwest::Client) {}", true),
        ("src/upstream.rs", "mod tests { use reqwest::Client; }", false),
        ("src/wire/tests.rs", "use tokio::time;", false),
    ] {
        assert_eq!(!check_outside(path, text).is_empty(), is_wrong, "{path}: {text}");
    }
}

#[test]
fn a_planted_circle_is_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(circle(&edges(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = circle(&edges(&[("a", "b"), ("b", "c"), ("c", "b")])).expect("one");
    assert_eq!(found, ["b", "c"]);
}
