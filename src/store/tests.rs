//! What is kept, what is not, and what becomes of a store that is broken.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::store::files::path_of;

/// What another program puts there.
fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> std::io::Result<()> {
    crate::private_file::replace(path.as_ref(), content.as_ref())
}

const START: i64 = 1_800_000_000;

fn clock() -> Clock {
    Clock::manual(jiff::Timestamp::from_second(START).expect("a time"))
}

fn store_in(dir: &Path, clock: &Clock) -> Store {
    let settings = Settings {
        dir: dir.to_owned(),
        max_file: 1000,
        max_files: 2500,
        keep_answers: 86_400,
        max_answers: 10_000,
    };
    Store::new(settings, clock.clone())
}

fn new_file(purpose: &str, expires_after: Option<i64>) -> NewFile {
    NewFile {
        filename: "../../etc/passwd".into(),
        purpose: purpose.into(),
        content_type: "text/plain".into(),
        expires_after,
    }
}

async fn kept(store: &Store, content: &[u8], new: NewFile) -> Result<File, UploadError> {
    let mut upload = store.upload().await?;
    for piece in content.chunks(7) {
        upload.write(piece).await?;
    }
    store.keep(upload, new).await
}

fn page(after: Option<&str>, limit: usize, order: Order) -> Page {
    Page { after: after.map(str::to_owned), limit, order }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn message(text: &str) -> Item {
    let json = format!(r#"{{"type":"message","role":"user","content":"{text}"}}"#);
    Item::named(&json).expect("an item")
}

async fn texts(store: &Store, conversation: &str) -> Vec<String> {
    let history = store.history(conversation).await.expect("read").expect("there");
    let text = |item: &Item| {
        crate::object::Object::read(item.json.as_bytes()).and_then(|it| it.text("content"))
    };
    history.iter().filter_map(text).collect()
}

#[tokio::test]
async fn a_file_is_kept_whole_and_private() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    let content = b"hello ".repeat(100);
    let file = kept(&store, &content, new_file("user_data", None)).await.expect("kept");
    assert_eq!((file.bytes, file.created_at, file.expires_at), (600, START, None));
    assert_eq!(file.sha256, hex(&<sha2::Sha256 as sha2::Digest>::digest(&content)));
    assert_eq!(store.file(&file.id).await.expect("read"), Some(file.clone()));
    assert_eq!(&*store.whole(&file).await.expect("read"), &*content);
    let content = store.content(&file).await.expect("opened").part(5, 3).expect("sought");
    assert_eq!(&content.next().await.expect("read").expect("a piece").0[..], b" he");
    for path in ["relay.sqlite3", "relay.sqlite3-wal", "files", &format!("files/{}", file.id)] {
        let mode = fs::metadata(home.path().join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{path}: {mode:o}");
    }
    assert!(store.delete_file(&file.id).await.expect("deleted"));
    assert!(!store.delete_file(&file.id).await.expect("deleted once"));
    assert_eq!(store.file(&file.id).await.expect("read"), None);
    assert_eq!(names_in(&home.path().join("files")), Vec::<String>::new());
    store.close().await;
    assert_eq!(names_in(home.path()), ["files", "relay.sqlite3"], "closed and tidy");
    assert_eq!(store.figures().await.expect_err("closed").what, What::Ending);
}

#[tokio::test]
async fn what_is_too_large_leaves_nothing() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    kept(&store, &[0; 1000], new_file("vision", None)).await.expect("as large as may be");
    let error = kept(&store, &[0; 1001], new_file("vision", None)).await.expect_err("too large");
    assert!(matches!(error, UploadError::TooLarge { limit: 1000 }), "{error:?}");
    let (mut one, mut other) =
        (store.upload().await.expect("begun"), store.upload().await.expect("begun"));
    one.write(&[0; 800]).await.expect("room");
    let error = other.write(&[0; 701]).await.expect_err("together too much");
    assert!(matches!(error, UploadError::NoRoom { limit: 2500 }), "{error:?}");
    drop(other);
    store.keep(one, new_file("vision", None)).await.expect("kept");
    kept(&store, &[0; 700], new_file("vision", None)).await.expect("as much as may be");
    let figures = store.figures().await.expect("read");
    assert_eq!((figures.files, figures.file_bytes), (3, 2500));
    assert_eq!(names_in(&home.path().join("files")).len(), 3);
    kept(&store, &[0; 1], new_file("vision", None)).await.expect_err("full");
}

#[tokio::test]
async fn pages_join_to_the_whole_list() {
    let home = tempfile::tempdir().expect("directory");
    let clock = clock();
    let store = store_in(home.path(), &clock);
    let mut ids = Vec::new();
    for n in 0..7 {
        let purpose = if n == 3 { "batch" } else { "vision" };
        ids.push(kept(&store, &[n], new_file(purpose, None)).await.expect("kept").id);
        // Some have the same time.
        clock.advance(jiff::SignedDuration::from_secs(i64::from(n % 2)));
    }
    for order in [Order::Asc, Order::Desc] {
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let next = page(after.as_deref(), 3, order);
            let listed = store.files(next, None).await.expect("read").expect("a place");
            seen.extend(listed.entries.iter().map(|file| file.id.clone()));
            // What is gone is still a place.
            after = seen.last().cloned();
            if seen.len() == 3 {
                let last = after.as_deref().expect("one");
                assert!(store.delete_file(last).await.expect("deleted"));
                let back = seen.len() - 1;
                ids.retain(|id| id != last);
                seen.truncate(back);
            }
            if !listed.has_more {
                break;
            }
        }
        let expected: Vec<_> = match order {
            Order::Asc => ids.clone(),
            Order::Desc => ids.iter().rev().cloned().collect(),
        };
        assert_eq!(seen, expected);
    }
    let listed = store.files(page(None, 9, Order::Asc), Some("batch".into())).await;
    assert!(listed.expect("read").expect("a place").entries.len() <= 1);
    let unknown = store.files(page(Some("file_x"), 9, Order::Asc), None).await.expect("read");
    assert_eq!(unknown, Err(UnknownCursor));
}

#[tokio::test]
async fn an_expired_file_is_gone_and_its_content_swept() {
    let home = tempfile::tempdir().expect("directory");
    let clock = clock();
    let store = store_in(home.path(), &clock);
    let file = kept(&store, b"x", new_file("user_data", Some(3600))).await.expect("kept");
    assert_eq!(file.expires_at, Some(START + 3600));
    clock.advance(jiff::SignedDuration::from_secs(3600));
    assert_eq!(store.file(&file.id).await.expect("read"), None);
    assert_eq!(store.figures().await.expect("read"), Figures::default());
    let stray = home.path().join("files").join(format!("file_{}", "0".repeat(32)));
    fs::copy(path_of(&store.0.settings, &file.id), &stray).expect("copied");
    fs::copy(&stray, home.path().join("files/mine.txt")).expect("copied");
    store.close().await;
    let store = store_in(home.path(), &clock);
    store.figures().await.expect("read");
    assert_eq!(names_in(&home.path().join("files")), ["mine.txt"]);
}

#[tokio::test]
async fn a_conversation_keeps_its_items_in_order() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    let made = store.create_conversation(r#"{"a":"1","b":"2"}"#.into(), vec![message("one")]).await;
    let id = made.expect("made").id;
    let items = vec![message("two"), message("three")];
    let added = store.append(&id, items.clone(), Some("resp_1".into())).await.expect("written");
    assert_eq!(added.expect("there"), items);
    let again = store.append(&id, items.clone(), None).await.expect("written").expect("there");
    assert!(again.iter().zip(&items).all(|(new, old)| new.id != old.id), "{again:?}");
    assert_eq!(texts(&store, &id).await, ["one", "two", "three", "two", "three"]);
    let listed = store.items(&id, page(Some(&items[1].id), 1, Order::Desc)).await.expect("read");
    let listed = listed.expect("there").expect("a place");
    assert_eq!((listed.entries, listed.has_more), (vec![items[0].clone()], true));
    let changed = store.update_conversation(&id, Some(r#"{"b":"3","c":"4"}"#.into())).await;
    let changed = changed.expect("written").expect("there");
    assert_eq!(changed.metadata, r#"{"a":"1","b":"3","c":"4"}"#);
    assert_eq!(changed.latest_response_id.as_deref(), Some("resp_1"));
    assert!(store.delete_item(&id, &items[0].id).await.expect("written").is_some());
    assert!(store.delete_item(&id, &items[0].id).await.expect("written").is_none());
    assert_eq!(texts(&store, &id).await, ["one", "three", "two", "three"]);
    assert!(store.delete_conversation(&id).await.expect("written"));
    assert_eq!(store.history(&id).await.expect("read"), None);
    assert_eq!(store.append(&id, items, None).await.expect("written"), None);
}

/// Each of many at once is acknowledged on its own, and one that fails undoes nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn many_write_at_once() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    let made = store.create_conversation("{}".into(), Vec::new()).await.expect("made");
    let writes = (0..200).map(|n| {
        let (store, id) = (store.clone(), made.id.clone());
        async move {
            if n % 5 == 0 {
                let failed = store.write(move |db| {
                    append_anything(db, &id)?;
                    Err::<(), _>(rusqlite::Error::InvalidQuery)
                });
                assert!(failed.await.is_err());
                return 0;
            }
            let added = store.append(&id, vec![message(&n.to_string())], None).await;
            added.expect("written").expect("there").len()
        }
    });
    let added: usize = futures_util::future::join_all(writes).await.into_iter().sum();
    assert_eq!(added, 160);
    assert_eq!(texts(&store, &made.id).await.len(), 160);
}

fn append_anything(db: &Connection, id: &str) -> rusqlite::Result<()> {
    conversations::append(db, id, &[message("undone")]).map(drop)
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_tried_again() {
    let home = tempfile::tempdir().expect("directory");
    let path = home.path().join("relay.sqlite3");
    write(&path, b"no database, and long enough to be looked at as one").expect("written");
    let store = store_in(home.path(), &clock());
    for _ in 0..2 {
        assert_eq!(store.figures().await.expect_err("damaged").what, What::Damaged);
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(store.figures().await.expect("made"), Figures::default());
    store.close().await;
    let db = Connection::open(&path).expect("opened");
    db.pragma_update(None, "user_version", 99).expect("set");
    let store = store_in(home.path(), &clock());
    assert_eq!(store.figures().await.expect_err("newer").what, What::Newer);
    db.pragma_update(None, "user_version", 0).expect("set");
    db.close().expect("closed");
}

/// What was not closed is looked through: a page in which something is not as it was.
#[tokio::test]
async fn damage_is_found_after_a_crash() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    let items: Vec<_> = (0..200).map(|n| message(&format!("{n} {}", "x".repeat(200)))).collect();
    store.create_conversation("{}".into(), items).await.expect("made");
    store.close().await;
    let path = home.path().join("relay.sqlite3");
    let mut pages = fs::read(&path).expect("read");
    let middle = pages.len() / 2;
    pages[middle..middle + 2048].fill(0xa5);
    write(&path, &pages).expect("written");
    // A log that was not taken in says that nobody closed the database.
    write(home.path().join("relay.sqlite3-wal"), [0; 32]).expect("written");
    let store = store_in(home.path(), &clock());
    assert_eq!(store.figures().await.expect_err("damaged").what, What::Damaged);
}

fn of_python(dir: &Path) {
    let db = Connection::open(dir.join("state.sqlite3")).expect("made");
    db.execute_batch(
        "CREATE TABLE files(id TEXT PRIMARY KEY, filename TEXT, purpose TEXT, content_type TEXT,
            bytes INTEGER, sha256 TEXT, created_at INTEGER, storage_path TEXT);
         CREATE TABLE conversations(id TEXT PRIMARY KEY, metadata_json TEXT, seed_items_json TEXT,
            latest_response_id TEXT, created_at INTEGER, updated_at INTEGER);
         INSERT INTO conversations VALUES ('conv_1', '{\"k\":\"v\"}',
            '[{\"type\":\"message\",\"role\":\"user\",\"content\":\"seed\"}]', 'resp_9', 5, 6);
         INSERT INTO conversations VALUES (NULL, NULL, NULL, NULL, 'no time', 6);",
    )
    .expect("written");
    fs::create_dir(dir.join("uploads")).expect("made");
    for (digit, content) in [("a", Some("content")), ("b", None)] {
        let id = format!("file_{}", digit.repeat(32));
        if let Some(content) = content {
            write(dir.join("uploads").join(&id), content).expect("written");
        }
        db.execute(
            "INSERT INTO files VALUES (?1, 'n.txt', 'assistants', 'text/plain', 7, '', 3, ?2)",
            [&id, &format!("/somewhere/else/uploads/{id}")],
        )
        .expect("written");
    }
}

/// One that is none of a file, and one that stands there twice.
fn odd_rows_of_python(dir: &Path) {
    let id = format!("file_{}", "c".repeat(32));
    fs::create_dir(dir.join("uploads").join(&id)).expect("made");
    let db = Connection::open(dir.join("state.sqlite3")).expect("opened");
    db.execute_batch(&format!(
        "INSERT INTO files VALUES ('{id}', 'd', 'assistants', 'text/plain', 7, '', 4, NULL);
         ALTER TABLE conversations RENAME TO older;
         CREATE TABLE conversations(id TEXT, metadata_json TEXT, seed_items_json TEXT,
            latest_response_id TEXT, created_at INTEGER, updated_at INTEGER);
         INSERT INTO conversations SELECT * FROM older;
         INSERT INTO conversations SELECT * FROM older;"
    ))
    .expect("written");
}

/// What is odd is left out, and the rest is there.
#[tokio::test]
async fn odd_rows_of_the_python_program_cost_only_themselves() {
    let home = tempfile::tempdir().expect("directory");
    of_python(home.path());
    odd_rows_of_python(home.path());
    let left = home.path().join(".airelays-former-left");
    fs::create_dir(&left).expect("made");
    let store = store_in(home.path(), &clock());
    let figures = store.figures().await.expect("taken over");
    assert_eq!((figures.files, figures.conversations), (1, 1));
    assert!(!left.exists(), "what a killed program left is cleared away");
}

fn everything_in(dir: &Path) -> Vec<(String, Vec<u8>, std::time::SystemTime)> {
    let of = |path: &Path| {
        let name = path.display().to_string();
        let modified = fs::metadata(path).expect("there").modified().expect("known");
        (name, fs::read(path).expect("read"), modified)
    };
    let uploads = names_in(&dir.join("uploads")).into_iter().map(|it| dir.join("uploads").join(it));
    uploads.chain([dir.join("state.sqlite3")]).map(|path| of(&path)).collect()
}

#[tokio::test]
async fn what_the_python_program_kept_is_taken_over_once_and_left_alone() {
    let home = tempfile::tempdir().expect("directory");
    of_python(home.path());
    let before = everything_in(home.path());
    for _ in 0..2 {
        let store = store_in(home.path(), &clock());
        let figures = store.figures().await.expect("taken over");
        assert_eq!((figures.files, figures.file_bytes, figures.conversations), (1, 7, 1));
        let id = format!("file_{}", "a".repeat(32));
        let file = store.file(&id).await.expect("read").expect("there");
        assert_eq!(&*store.whole(&file).await.expect("read"), b"content");
        assert_eq!((&*file.filename, file.created_at), ("n.txt", 3));
        let conversation = store.conversation("conv_1").await.expect("read").expect("there");
        assert_eq!(conversation.metadata, r#"{"k":"v"}"#);
        assert_eq!(texts(&store, "conv_1").await, ["seed"]);
        store.close().await;
    }
    assert_eq!(everything_in(home.path()), before);
    let names = names_in(home.path());
    assert_eq!(names, ["files", "relay.sqlite3", "state.sqlite3", "uploads"]);
}

#[tokio::test]
async fn a_database_of_the_python_program_that_is_none_is_no_obstacle() {
    let home = tempfile::tempdir().expect("directory");
    write(home.path().join("state.sqlite3"), b"rubbish that is no database at all").expect("?");
    let store = store_in(home.path(), &clock());
    assert_eq!(store.figures().await.expect("made"), Figures::default());
}

fn an_answer(id: &str, previous: Option<&str>, at: i64) -> Outcome {
    let answer = Answer {
        id: id.into(),
        kind: Kind::Response,
        previous: previous.map(str::to_owned),
        background: false,
        status: "completed".into(),
        model: "m".into(),
        metadata: "{}".into(),
        body: format!(r#"{{"id":"{id}"}}"#),
        created_at: at,
    };
    let (asked, output) = (vec![message(&format!("to {id}"))], vec![message(&format!("by {id}"))]);
    Outcome { answer: Some(answer), asked, output, conversation: None }
}

async fn ids_until(store: &Store, id: &str) -> Option<Vec<String>> {
    let all = store.end_of(id).await.expect("read")?.said?;
    let text = |item: &Item| crate::object::Object::read(item.json.as_bytes())?.text("content");
    Some(all.iter().filter_map(text).collect())
}

#[tokio::test]
async fn answers_form_chains_that_branch_and_break() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    for (id, previous) in [("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("a"))] {
        let kept = store.keep_turn(an_answer(id, previous, START)).await.expect("written");
        assert_eq!(kept, Kept::Done);
    }
    let until = async |id| ids_until(&store, id).await.map(|all| all.join(", "));
    assert_eq!(until("c").await.as_deref(), Some("to a, by a, to b, by b, to c, by c"));
    assert_eq!(until("d").await.as_deref(), Some("to a, by a, to d, by d"));
    let asked = store.asked("c", page(None, 2, Order::Desc)).await.expect("read");
    let asked = asked.expect("a place");
    assert_eq!((asked.entries.len(), asked.has_more), (2, true));
    assert!(asked.entries[0].json.contains("to c") && asked.entries[1].json.contains("by b"));
    assert!(store.delete_answer(Kind::Response, "b").await.expect("written"));
    assert_eq!(until("c").await, None, "what it went on from is gone");
    assert_eq!(until("d").await.as_deref(), Some("to a, by a, to d, by d"));
    let end = store.end_of("c").await.expect("read").expect("there");
    assert_eq!((&*end.name, end.is_open), ("a", false));
}

#[tokio::test]
async fn answers_go_when_they_are_old_or_too_many() {
    let home = tempfile::tempdir().expect("directory");
    let clock = clock();
    let store = store_in(home.path(), &clock);
    store.keep_turn(an_answer("old", None, START)).await.expect("written");
    store.keep_turn(an_answer("used", None, START)).await.expect("written");
    store.keep_turn(an_answer("new", Some("used"), START + 80_000)).await.expect("written");
    clock.advance(jiff::SignedDuration::from_secs(90_000));
    store.close().await;
    let store = store_in(home.path(), &clock);
    assert_eq!(store.figures().await.expect("read").answers, 2);
    assert_eq!(ids_until(&store, "old").await, None);
    assert!(ids_until(&store, "new").await.is_some_and(|all| all.len() == 4));
    for n in 0..100 {
        let id = format!("n{n}");
        let kept = store.keep_turn(an_answer(&id, None, START + 90_000 + n)).await;
        assert_eq!(kept.expect("written"), Kept::Done);
        assert!(ids_until(&store, &id).await.is_some(), "the one that is kept stays");
    }
    let left = store.figures().await.expect("read").answers;
    assert!((20..60).contains(&left), "{left}");
    assert_eq!(ids_until(&store, "new").await, None, "the oldest went first");
    let mut huge = an_answer("huge", None, START + 91_000);
    huge.output = vec![message(&"x".repeat(20_000))];
    let kept = store.keep_turn(huge).await.expect("written");
    assert_eq!(kept, Kept::NoRoom { limit: 10_000 });
    assert_eq!(ids_until(&store, "huge").await, None);
    assert_eq!(store.figures().await.expect("read").answers, left, "and nobody made room for it");
}

#[tokio::test]
async fn an_answer_that_was_begun_has_failed_after_a_crash() {
    let home = tempfile::tempdir().expect("directory");
    let store = store_in(home.path(), &clock());
    let mut begun = an_answer("a", None, START);
    begun.output.clear();
    if let Some(answer) = &mut begun.answer {
        "in_progress".clone_into(&mut answer.status);
    }
    store.keep_turn(begun).await.expect("written");
    store.close().await;
    let store = store_in(home.path(), &clock());
    let failed = store.answer(Kind::Response, "a").await.expect("read").expect("there");
    assert_eq!(failed.status, "failed");
    assert!(failed.body.contains("The relay ended before"), "{}", failed.body);
    store.keep_turn(an_answer("a", None, START)).await.expect("written");
    let stays = store.answer(Kind::Response, "a").await.expect("read").expect("there");
    assert_eq!(stays, failed, "whoever comes second has lost");
    assert_eq!(ids_until(&store, "a").await.expect("there"), ["to a"]);
    let mut begun = an_answer("b", None, START);
    begun.output.clear();
    if let Some(answer) = &mut begun.answer {
        "in_progress".clone_into(&mut answer.status);
    }
    store.keep_turn(begun).await.expect("written");
    store.keep_turn(an_answer("b", None, START)).await.expect("written");
    let all = ids_until(&store, "b").await.expect("there");
    assert_eq!(all, ["to b", "by b"], "what it answers is there once");
}
