//! Turns that wait, turns that fail, and what is left of either.

use super::*;
use crate::{clock::Clock, store};

fn dialogues(home: &std::path::Path) -> Dialogues {
    let settings = store::Settings {
        dir: home.to_owned(),
        max_file: 1 << 30,
        max_files: 1 << 30,
        keep_answers: 1 << 30,
        max_answers: 1 << 30,
    };
    Dialogues::new(Store::new(settings, Clock::system()), true)
}

fn in_conversation(id: &str) -> Memory {
    Memory { conversation: Some(id.to_owned()), ..Memory::default() }
}

const SAID: &str = r#"{"type":"message","role":"user","content":[]}"#;

fn answer(id: &str) -> Ended {
    let told =
        format!(r#"{{"id":"{id}","output":[{{"type":"message","id":"msg_1","content":[]}}]}}"#);
    Ended { said: Item::named(SAID).into_iter().collect(), told: told.into(), answer: None }
}

#[tokio::test]
async fn a_turn_is_kept_whole_or_not_at_all() {
    let home = tempfile::tempdir().expect("a directory");
    let all = dialogues(home.path());
    let id = all.store.create_conversation("{}".into(), Vec::new()).await.expect("made").id;
    let turn = all.begin(&in_conversation(&id)).await.expect("begun");
    assert_eq!(turn.before(), Some((&b"[]"[..], "conversation")));
    drop(turn);
    for n in 1..=2 {
        let turn = all.begin(&in_conversation(&id)).await.expect("begun");
        all.end(&turn, answer(&format!("resp_{n}"))).await.expect("kept");
        let history = all.store.history(&id).await.expect("read").expect("there");
        assert_eq!(history.len(), 2 * n, "{history:?}");
    }
    let kept = all.store.conversation(&id).await.expect("read").expect("there");
    assert_eq!(kept.latest_response_id.as_deref(), Some("resp_2"));
    let turn = all.begin(&in_conversation(&id)).await.expect("begun");
    all.store.delete_conversation(&id).await.expect("deleted");
    let gone = all.end(&turn, answer("resp_3")).await.expect_err("gone");
    assert!(matches!(gone, TurnError::Gone), "{gone:?}");
    drop(turn);
    let unknown = all.begin(&in_conversation(&id)).await.expect_err("unknown");
    assert!(matches!(unknown, TurnError::NoConversation { .. }), "{unknown:?}");
}

/// Each sees all that those before it have said.
#[tokio::test(flavor = "multi_thread")]
async fn turns_in_one_conversation_come_one_after_the_other() {
    let home = tempfile::tempdir().expect("a directory");
    let all = dialogues(home.path());
    let id = all.store.create_conversation("{}".into(), Vec::new()).await.expect("made").id;
    let turns = (0..20).map(|n| {
        let (all, id) = (all.clone(), id.clone());
        async move {
            let turn = all.begin(&in_conversation(&id)).await.expect("begun");
            let before =
                Doc::parse(turn.before().expect("some").0).expect("a list").root().items().count();
            tokio::task::yield_now().await;
            all.end(&turn, answer(&n.to_string())).await.expect("kept");
            before
        }
    });
    let mut seen = futures_util::future::join_all(turns).await;
    seen.sort_unstable();
    assert_eq!(seen, (0..40).step_by(2).collect::<Vec<_>>());
    assert!(all.turns.lock().len() <= 1, "and nothing is left of them");
}

#[tokio::test(start_paused = true)]
async fn a_turn_does_not_wait_for_ever() {
    let home = tempfile::tempdir().expect("a directory");
    let all = dialogues(home.path());
    let held = all.alone_in("c").await.expect("the first");
    let busy = all.alone_in("c").await.expect_err("the second");
    assert!(matches!(busy, TurnError::Busy), "{busy:?}");
    all.alone_in("d").await.expect("another conversation");
    drop(held);
    all.alone_in("c").await.expect("free");
}
