//! The documents, held to what the program is.
//!
//! Links lead somewhere, examples parse, generated pages are as the code has them. Each check is a
//! function from text to complaints, so that a planted mistake shows that it can fail.
//!
//! Not here: whether what is written is well said.

mod answers;
mod markdown;

use std::{collections::BTreeMap, fs, process::Command};

use airelays::reference;
use toml::Table;

use self::markdown::{Block, anchors, blocks, headings, links};
use crate::tidy::{File, expect_none, files, root, rust_files};

/// The map for programs is written like a document, under the name that they look for.
const MAP: &str = "llms.txt";

fn documents() -> impl Iterator<Item = File> {
    files().into_iter().filter(|file| file.has_extension("md") || file.path == MAP)
}

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// `from` with `link` followed, without `.` and `..`; `None` when it leaves the project.
fn follow(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// `anchors` has the anchors of every document; `exists` knows every other file and folder.
fn check_links(
    file: &File,
    anchors: &BTreeMap<String, Vec<String>>,
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let is_inside = |link: &&str| !link.contains("://") && !link.starts_with("mailto:");
    let broken = |link: &&str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match path {
            "" => Some(file.path.clone()),
            path => follow(&file.path, path),
        };
        let Some(target) = target else { return true };
        match (anchors.get(&target), anchor) {
            (Some(_), "") => false,
            (Some(known), anchor) => !known.iter().any(|known| known == anchor),
            (None, anchor) => !anchor.is_empty() || !exists(&target),
        }
    };
    links(&file.text)
        .into_iter()
        .filter(is_inside)
        .filter(broken)
        .map(|link| format!("{}: the link `{link}` leads nowhere", file.path))
        .collect()
}

/// `keys` are the settings there are, as `section.name`.
fn check_toml(path: &str, block: &Block<'_>, keys: &[String]) -> Vec<String> {
    let wrong = |what: String| format!("{path}:{}: {what}", block.line);
    let table: Table = match block.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![wrong(format!("no TOML: {}", error.message()))],
    };
    let names = table.iter().flat_map(|(section, value)| {
        let inner = value.as_table().into_iter().flat_map(Table::keys);
        inner.map(move |name| format!("{section}.{name}"))
    });
    let plain = table.iter().filter(|(_, value)| !value.is_table()).map(|(name, _)| name.clone());
    names
        .chain(plain)
        .filter(|name| !keys.contains(name))
        .map(|name| wrong(format!("`{name}` is no setting")))
        .collect()
}

/// The commands of this program in a block that shows a terminal or is to be pasted into one, and
/// the lines they stand in.
fn commands<'a>(block: &Block<'a>) -> Vec<(usize, Vec<&'a str>)> {
    let command = |(n, line): (usize, &'a str)| {
        let line = match block.language {
            "console" => line.strip_prefix("$ ")?,
            "sh" => line,
            _ => return None,
        };
        let words = own_words(line)?;
        Some((block.line + 1 + n, words))
    };
    block.text.lines().enumerate().filter_map(command).collect()
}

/// What follows the name of this program, if `line` calls it.
fn own_words(line: &str) -> Option<Vec<&str>> {
    // What comes before is variables, what comes after another program.
    let words = line.split_whitespace().skip_while(|word| word.contains('='));
    let is_own = |word: &&str| !matches!(*word, "|" | ">" | "&&" | "&" | "#");
    let words: Vec<_> = words.take_while(is_own).collect();
    let (first, rest) = words.split_first()?;
    (*first == "airelays").then(|| rest.to_vec())
}

/// The commands of this program that stand as code in sentences.
fn spoken(text: &str) -> Vec<Vec<&str>> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.filter_map(own_words).collect()
}

/// Asks the real program whether it takes `words`, and to do no more than to print its help.
fn check_command(path: &str, line: usize, words: &[&str]) -> Option<String> {
    let home = tempfile::tempdir().expect("a folder");
    let unquoted = words.iter().map(|word| word.trim_matches(['\'', '"']));
    let output = Command::new(env!("CARGO_BIN_EXE_airelays"))
        .args(unquoted)
        .arg("--help")
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or("it says nothing");
    let command = words.join(" ");
    (!output.status.success()).then(|| format!("{path}:{line}: `airelays {command}`: {why}"))
}

/// The cells of the column called `name`, of all tables that have one.
fn column<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let mut cells = Vec::new();
    let mut at = None;
    for line in text.lines() {
        if line.starts_with("|---") {
            continue;
        }
        let Some(row) = line.strip_prefix("| ") else {
            at = None;
            continue;
        };
        let row: Vec<_> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
        match at {
            None => at = Some(row.iter().position(|cell| *cell == name).unwrap_or(usize::MAX)),
            Some(at) => cells.extend(row.get(at)),
        }
    }
    cells
}

fn code_cells(text: &str, name: &str) -> Vec<String> {
    column(text, name).into_iter().map(|cell| cell.trim_matches('`').to_owned()).collect()
}

/// Headings such as `429 Request rate …` speak of answers that there are. `answers` are a status
/// and a message each.
fn check_troubles(text: &str, answers: &[(String, String)]) -> Vec<String> {
    let is_known = |heading: &&str| {
        let Some((status, message)) = heading.split_once(' ') else { return true };
        let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        let message = message.trim_matches('`');
        !is_status
            || answers.iter().any(|(own_status, own)| {
                own_status == status && (own.starts_with(message) || message == "unsupported_error")
            })
    };
    headings(text)
        .into_iter()
        .filter(|heading| !is_known(heading))
        .map(|heading| format!("troubleshooting.md: nothing answers `{heading}`"))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let all: Vec<_> = documents().collect();
    let anchors: BTreeMap<_, _> =
        all.iter().map(|file| (file.path.clone(), anchors(&file.text))).collect();
    let exists = |path: &str| root().join(path).exists();
    let wrong: Vec<_> = all.iter().flat_map(|file| check_links(file, &anchors, exists)).collect();
    expect_none(&wrong);
}

/// A page that is on no map is found by those who know of it.
fn check_map(map: &File, pages: &[&str]) -> Vec<String> {
    let listed: Vec<_> =
        links(&map.text).into_iter().filter_map(|link| follow(&map.path, link)).collect();
    let is_listed = |page: &str| listed.iter().any(|link| link == page);
    let missing = pages.iter().filter(|page| !is_listed(page));
    missing.map(|page| format!("{}: does not list {page}", map.path)).collect()
}

#[test]
fn every_page_is_on_the_maps() {
    let all: Vec<_> = documents().collect();
    let is_page = |path: &&str| path.starts_with("docs/") && !path.starts_with("docs/adr/0");
    let pages: Vec<_> = all.iter().map(|file| file.path.as_str()).filter(is_page).collect();
    assert!(pages.len() > 15, "{pages:?}");
    // People find the references from the pages that they belong to.
    let plain: Vec<_> =
        pages.iter().copied().filter(|path| !path.contains("/reference/")).collect();
    let map = |path: &str| all.iter().find(|file| file.path == path).expect("a map");
    let wrong = [check_map(map(MAP), &pages), check_map(map("README.md"), &plain)];
    expect_none(&wrong.concat());
}

/// A title, a summary, and nothing in the lists but a link and a sentence about it.
#[test]
fn the_map_for_programs_has_its_form() {
    let text = document(MAP);
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].starts_with("# ") && lines[1].starts_with("> "), "{}", lines[1]);
    let items: Vec<_> = lines.iter().filter(|line| line.starts_with("- ")).collect();
    assert!(items.len() > 20);
    for item in items {
        let is_whole = item.starts_with("- [") && item.contains("): ") && item.ends_with('.');
        assert!(is_whole, "{item}");
    }
}

#[test]
fn every_toml_block_is_made_of_settings() {
    let keys = code_cells(&document("docs/reference/config.md"), "setting");
    assert!(keys.iter().any(|key| key == "server.port"), "the reference has no settings");
    let wrong: Vec<_> = documents()
        .flat_map(|file| {
            let of_toml = |block: &&Block<'_>| block.language == "toml";
            let found = blocks(&file.text);
            let wrong = found.iter().filter(of_toml).flat_map(|b| check_toml(&file.path, b, &keys));
            wrong.collect::<Vec<_>>()
        })
        .collect();
    expect_none(&wrong);
}

#[test]
fn every_command_that_is_shown_is_one() {
    let mut wrong = Vec::new();
    for file in documents() {
        for block in &blocks(&file.text) {
            for (line, words) in commands(block) {
                wrong.extend(check_command(&file.path, line, &words));
            }
        }
    }
    expect_none(&wrong);
}

/// In sentences too, and in the messages of the program, which tell people what to type.
#[test]
fn every_command_that_is_spoken_of_is_one() {
    let all: Vec<_> = documents().filter(|file| file.path != "docs/reference/cli.md").collect();
    let mut commands = BTreeMap::new();
    for file in &all {
        for words in spoken(&file.text) {
            commands.entry(words).or_insert(&file.path);
        }
    }
    assert!(commands.len() > 30, "{}", commands.len());
    let wrong = commands.iter().filter_map(|(words, path)| check_command(path, 0, words));
    expect_none(&wrong.collect::<Vec<_>>());
}

#[test]
fn the_generated_pages_are_as_the_code_has_them() {
    let sources: Vec<_> = rust_files()
        .filter(|file| file.path.starts_with("src/"))
        .map(|f| (f.path, f.text))
        .collect();
    let messages = reference::messages::page(&sources, &document("docs/troubleshooting.md"));
    for (name, text) in reference::pages().into_iter().chain([("messages", messages)]) {
        let path = format!("docs/reference/{name}.md");
        let is_same = fs::read_to_string(root().join(&path)).is_ok_and(|found| found == text);
        assert!(is_same, "{path} is out of date; `cargo xtask docs --write` rewrites it");
    }
}

#[test]
fn every_parameter_is_in_the_tables_of_the_page_about_routes() {
    let page = document("docs/api.md");
    let written = reference::parameters::written(&page).expect("its marks");
    assert!(written == page, "docs/api.md is out of date; `cargo xtask docs --write` rewrites it");
    assert!(page.matches("| left out and told |").count() > 20);
}

#[test]
fn every_trouble_is_one_that_a_client_can_have() {
    let page = document("docs/reference/errors.md");
    let cells = |name| code_cells(&page, name);
    let answers: Vec<_> = cells("status").into_iter().zip(cells("message")).collect();
    assert!(answers.len() > 10, "the reference has no errors");
    expect_none(&check_troubles(&document("docs/troubleshooting.md"), &answers));
}

/// What nothing prints is nothing that anybody looks for.
#[test]
fn every_other_trouble_is_a_message_of_the_program() {
    const NO_MESSAGES: &[&str] = &["airelays-doctor", "left-out", "x-airelays-ignored-parameters"];
    let page = document("docs/troubleshooting.md");
    let messages = document("docs/reference/messages.md");
    assert!(messages.matches("[what to do]").count() > 60, "hardly anything is explained");
    let titles = headings(&page).into_iter().zip(anchors(&page)).skip(1);
    let unsaid = titles.filter(|(title, anchor)| {
        let has_status = title.starts_with(|c: char| c.is_ascii_digit());
        let is_linked = messages.contains(&format!("(../troubleshooting.md#{anchor})"));
        !has_status && !is_linked && !NO_MESSAGES.contains(&anchor.as_str())
    });
    let wrong = unsaid.map(|(title, _)| format!("troubleshooting.md: nothing says `{title}`"));
    expect_none(&wrong.collect::<Vec<_>>());
}

/// A proof that is named and does not exist is none.
#[test]
fn every_test_that_a_proof_names_exists() {
    let security = document("docs/security.md");
    let (_, proofs) = security.split_once("## How it is proved").expect("proofs");
    let is_name = |word: &&str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.matches('_').count() > 2 && word.bytes().all(plain)
    };
    let named: Vec<_> = proofs.split('`').filter(is_name).collect();
    assert!(named.len() > 20, "{named:?}");
    let sources: Vec<_> = files();
    let exists = |name: &str| {
        let function = format!("fn {name}()");
        sources.iter().any(|file| file.text.contains(&function))
    };
    let wrong = named.into_iter().filter(|name| !exists(name));
    expect_none(&wrong.map(|name| format!("docs/security.md: no test {name}")).collect::<Vec<_>>());
}

#[test]
fn one_sentence_stands_on_one_line() {
    let wrong: Vec<_> =
        documents().flat_map(|file| markdown::check_lines(&file.path, &file.text)).collect();
    expect_none(&wrong);
}

#[test]
fn every_decision_is_in_the_index_and_has_its_parts() {
    let index = document("docs/adr/README.md");
    let mut wrong = Vec::new();
    for file in documents().filter(|file| file.path.starts_with("docs/adr/0")) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if !index.contains(name) {
            wrong.push(format!("docs/adr/README.md: does not list {name}"));
        }
        wrong.extend(check_decision(name, &file.text));
    }
    expect_none(&wrong);
}

fn check_decision(name: &str, text: &str) -> Vec<String> {
    const PARTS: &[&str] = &[
        "\nStatus: ",
        "\nDate: ",
        "\n## Context\n",
        "\n## Decision\n",
        "\n## Consequences\n",
        "\n## Revisit when\n",
    ];
    const MOST_LINES: usize = 60;
    let missing = PARTS.iter().filter(|part| !text.contains(**part));
    let mut wrong: Vec<_> =
        missing.map(|part| format!("{name}: lacks `{}`", part.trim())).collect();
    if text.lines().count() > MOST_LINES {
        wrong.push(format!("{name}: is longer than {MOST_LINES} lines"));
    }
    wrong
}

#[test]
fn planted_mistakes_are_found() {
    let file = File {
        path: "docs/a.md".to_owned(),
        text: "# A\n[x](b.md) [y](b.md#there) [z](../c.md#here) [w](#a) [v](d.md) [u](https://d.md) [t](../../e)"
            .to_owned(),
    };
    let anchors = BTreeMap::from([
        ("docs/a.md".to_owned(), vec!["a".to_owned()]),
        ("docs/b.md".to_owned(), vec!["here".to_owned()]),
        ("c.md".to_owned(), vec!["here".to_owned()]),
    ]);
    assert_eq!(
        check_links(&file, &anchors, |_| false),
        [
            "docs/a.md: the link `b.md#there` leads nowhere",
            "docs/a.md: the link `d.md` leads nowhere",
            "docs/a.md: the link `../../e` leads nowhere",
        ]
    );
    let map = File { path: "docs/map.md".to_owned(), text: "[x](b.md)\n".to_owned() };
    assert_eq!(
        check_map(&map, &["docs/b.md", "docs/c.md"]),
        ["docs/map.md: does not list docs/c.md"]
    );
    let keys = ["server.port".to_owned()];
    let toml = |text| check_toml("a.md", &Block { language: "toml", line: 3, text }, &keys);
    assert!(toml("[server]\nport = 1\n").is_empty());
    assert_eq!(toml("[server]\nprot = 1\n"), ["a.md:3: `server.prot` is no setting"]);
    assert_eq!(toml("port = 1\n"), ["a.md:3: `port` is no setting"]);
    assert_eq!(toml("[server\n").len(), 1);
    let answers = [("404".to_owned(), "Not Found".to_owned())];
    let text = "## 404 Not Found\n## 429 Not Found\n## 404 Gone\n## Other\n";
    assert_eq!(check_troubles(text, &answers).len(), 2);
    assert_eq!(check_decision("0001.md", "\nStatus: x\nDate: y\n\n## Context\n").len(), 3);
    assert_eq!(check_decision("0001.md", &"\n".repeat(61)).len(), 7);
}

#[test]
fn a_planted_command_is_found() {
    let text = "$ airelays serve --prot 80\n$ X=1 airelays token show | cat\noutput\n$ curl airelays\n$ airelays\n";
    let block = Block { language: "console", line: 10, text };
    let found = commands(&block);
    let expected = [(11, vec!["serve", "--prot", "80"]), (12, vec!["token", "show"]), (15, vec![])];
    assert_eq!(found, expected);
    let pasted = Block { language: "sh", line: 1, text: "curl airelays\nairelays login\n" };
    assert_eq!(commands(&pasted), [(3, vec!["login"])]);
    assert!(commands(&Block { language: "text", ..pasted }).is_empty());
    assert_eq!(spoken("Run `airelays login`, `x` or\n`airelays`."), [vec!["login"], vec![]]);
    assert!(
        check_command("a.md", 11, &found[0].1)
            .expect("wrong")
            .starts_with("a.md:11: `airelays serve")
    );
    assert_eq!(check_command("a.md", 12, &found[1].1), None);
}
