//! Pictures, and the window that they are counted against.

use super::*;

const GENERATIONS: &str = "/backend-api/codex/images/generations";
const EDITS: &str = "/backend-api/codex/images/edits";
const USED: &str = "x-codex-primary-used-percent";

#[tokio::test]
async fn one_picture_is_made_whatever_is_asked_for() {
    let client = Client::new();
    let body = object! {
        "prompt": "a red fox", "n": 4, "size": "1024x1024", "quality": "high", "model": "any",
        "output_format": "webp", "background": "transparent", "stream": true,
    };
    let heard = client.post(GENERATIONS, &body).await;
    assert_eq!((heard.status, heard.header("content-type")), (200, "application/json"));
    let answer = heard.json();
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(1));
    assert!(text(&answer["data"][0], "b64_json").starts_with("iVBORw0KGgo"));
    let told = ["output_format", "quality", "size", "background"].map(|name| text(&answer, name));
    assert_eq!(told, ["png", "low", "1254x1254", "transparent"]);
    let picture = object! {"image_url": "data:image/png;base64,iVBORw0KGgo="};
    let edit = object! {"prompt": "a", "images": list![picture.clone(), picture]};
    let answer = client.post(EDITS, &edit).await.json();
    assert_eq!(answer["usage"]["input_tokens_details"]["image_tokens"], 646);
    for (route, body) in [
        (GENERATIONS, object! {}),
        (GENERATIONS, object! {"prompt": "a", "background": "blue"}),
        (EDITS, object! {"prompt": "a"}),
        (EDITS, object! {"prompt": "a", "images": list![object! {"image_url": "a.png"}]}),
    ] {
        let heard = client.post(route, &body).await;
        assert_eq!((heard.status, heard.header(USED)), (400, "10.0"), "{body}");
    }
}

#[tokio::test]
async fn pictures_fill_a_window_of_their_own() {
    let client = Client::of("first", &[("images_used", "40"), ("image_cost", "30")]);
    let draw = async || client.post(GENERATIONS, &object! {"prompt": "a"}).await;
    assert_eq!(draw().await.header(USED), "70.0");
    let heard = draw().await;
    assert_eq!((heard.status, heard.header(USED)), (200, "100.0"));
    assert_eq!(heard.header("x-codex-active-limit"), "imagegen_premium");
    assert_eq!(heard.header("x-codex-primary-window-minutes"), "1440");
    let heard = draw().await;
    assert_eq!((heard.status, heard.header(USED)), (429, "100.0"));
    assert_eq!(heard.json()["error"]["resets_in_seconds"], 86_400);
    let turn = client.say("hi").await;
    assert_eq!((turn.status, turn.header(USED)), (200, "27.0"), "no other window is touched");
    client.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(draw().await.status, 200);
    client.simulator.set_world("images", "missing").expect("a switch");
    let heard = draw().await;
    assert_eq!((heard.status, heard.bytes.len(), heard.header(USED)), (404, 0, ""));
}
