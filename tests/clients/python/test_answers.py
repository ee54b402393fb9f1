"""Answers arrive whole, on every route and in every way the SDK offers to read them."""

from __future__ import annotations

import base64
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import ContentFilterFinishReasonError, LengthFinishReasonError
from pydantic import BaseModel
from routes import MODEL, ROUTES, WAYS, Chat, Responses

GREETING = "Hello from the simulator. You said: "
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
AWKWARD = [
    "", "crlf", "cr", "chopped", "comments", "unknown-events", "no-event-lines", "multi-data",
    "no-index", "no-deltas", "filled", "items-missing", "done-without-added", "details-null",
    "close-late", "reasoning-silent",
]  # fmt: skip

# On the Responses route the upstream's events go through as they are, with these faults in them.
FORWARDED = {"unknown-events", "no-event-lines", "no-index", "done-without-added", "details-null"}
# This helper wants every item announced and ended, and the relay makes up no events of items.
UNREADABLE = [(Responses, "helper", "done-without-added"), (Responses, "helper", "items-missing")]

every_route = pytest.mark.parametrize("route", ROUTES)
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.mark.parametrize(
    ("route", "way", "marker"),
    [case for case in itertools.product(ROUTES, WAYS, AWKWARD) if case not in UNREADABLE],
)
def test_a_text_arrives_whole_however_the_upstream_frames_it(
    client, sim, recorder, route, way, marker
):
    recorder.forwards_quirks = route is Responses and marker in FORWARDED
    asked = f"pêche 🍑 [sim {marker}]" if marker else "pêche 🍑"
    answer = getattr(route(client, asked), way)()
    assert answer.text == GREETING + asked
    assert answer.tokens > 0
    sent = sim.only()
    assert asked in str(sent.items[-1])
    assert "Be brief." in str([sent.body["instructions"], sent.items])


@every_route
@every_way
def test_separators_that_are_no_line_ends_stay_in_the_text(client, sim, route, way):
    answer = getattr(route(client, "[sim separators]"), way)()
    assert any(mark in answer.text for mark in "\u2028\u2029\x85")


@every_route
def test_text_arrives_piece_by_piece(client, sim, route):
    events = list(route(client, "[sim deltas: 12]").events())
    if route is Chat:
        pieces = [e.choices[0].delta.content for e in events if e.choices]
    else:
        pieces = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert len([piece for piece in pieces if piece]) == 12


@every_route
@every_way
def test_reasoning_is_asked_for_and_shown(client, sim, recorder, route, way):
    effort = (
        {"reasoning_effort": "high"}
        if route is Chat
        else {"reasoning": {"effort": "high", "summary": "auto"}}
    )
    answer = getattr(route(client, "[sim reasoning]", **effort), way)()
    assert answer.text.startswith(GREETING)
    assert sim.only().body["reasoning"]["effort"] == "high"
    received = recorder.exchanges[-1].body.decode()
    if route is Chat:
        assert '"reasoning_content"' in received
    elif way != "raw":
        kinds = [item.type for item in answer.raw.output]
        assert kinds == ["reasoning", "message"]
        assert answer.raw.output[0].summary[0].text


@pytest.mark.parametrize("way", ["plain", "helper"])
def test_a_refusal_is_told_as_one(client, sim, way):
    message = getattr(Chat(client, "[sim refusal]"), way)().raw.choices[0].message
    assert message.refusal and not message.content
    response = getattr(Responses(client, "[sim refusal]"), way)().raw
    assert [part.type for part in response.output[-1].content] == ["refusal"]


@pytest.mark.parametrize(
    ("reason", "finish", "error"),
    [
        ("max_output_tokens", "length", LengthFinishReasonError),
        ("content_filter", "content_filter", ContentFilterFinishReasonError),
    ],
)
def test_an_answer_cut_short_says_why(client, sim, reason, finish, error):
    asked = f"[sim incomplete: {reason}]"
    assert Chat(client, asked).plain().raw.choices[0].finish_reason == finish
    chunks = list(Chat(client, asked).events())
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == finish
    response = client.responses.create(model=MODEL, input=asked)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)
    assert response.output_text
    events = list(client.responses.create(model=MODEL, input=asked, stream=True))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == reason
    with pytest.raises(error):
        client.chat.completions.parse(
            model=MODEL, messages=[{"role": "user", "content": asked}], response_format=City
        )


class Street(BaseModel):
    name: str
    number: int


class City(BaseModel):
    name: str
    streets: list[Street]
    capital: bool


@every_route
@pytest.mark.parametrize("way", ["parse", "helper"])
def test_a_schema_is_sent_and_the_answer_fits_it(client, sim, route, way):
    dialogue = route(client, "Describe a city.")
    dialogue.shape(City)
    assert isinstance(getattr(dialogue, way)().parsed, City)
    form = sim.only().body["text"]["format"]
    assert (form["type"], form["name"], form["strict"]) == ("json_schema", "City", True)
    assert form["schema"]["additionalProperties"] is False


def test_json_mode_reaches_the_upstream_with_the_word_it_wants(client, sim):
    """The upstream looks for the word in the input; chat programs say it in a system message."""
    how = {"model": MODEL, "response_format": {"type": "json_object"}}
    messages = [
        {"role": "system", "content": "Answer in JSON."},
        {"role": "user", "content": "Go."},
    ]
    answer = client.chat.completions.create(messages=messages, **how)
    assert answer.choices[0].message.content == '{"ok":true}'
    form = {"format": {"type": "json_object"}}
    answer = client.responses.create(model=MODEL, input="Go, in JSON.", text=form)
    assert answer.output_text == '{"ok":true}'
    for sent in sim.inference():
        assert sent.body["text"]["format"] == {"type": "json_object"}
        assert "json" in str(sent.items).lower()


@every_route
def test_what_the_upstream_would_refuse_is_left_out(client, sim, recorder, route):
    """These are in most programs' requests; the upstream fails a request for any one of them."""
    usual = {"temperature": 0.2, "top_p": 0.9, "user": "me", "metadata": {"a": "b"}}
    usual |= {"frequency_penalty": 0.1, "seed": 7} if route is Chat else {"truncation": "auto"}
    assert route(client, "Hello.", **usual).plain().text == GREETING + "Hello."
    assert not usual.keys() & sim.only().body.keys()
    assert "temperature" in str(recorder.exchanges[-1].headers), "it is told what was left out"


@every_route
def test_an_image_goes_up_byte_for_byte(client, sim, route):
    url = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
    dialogue = route(client, "Look.")
    dialogue.history.pop()
    dialogue.say(dialogue.image("What is this?", url))
    assert dialogue.plain().text.startswith(GREETING)
    text, image = sim.only().items[-1]["content"]
    assert text == {"type": "input_text", "text": "What is this?"}
    assert (image["type"], image["image_url"]) == ("input_image", url)


def test_completions_answer_a_prompt(client, sim):
    answer = client.completions.create(model=MODEL, prompt="Once upon a time")
    assert answer.choices[0].text == GREETING + "Once upon a time"
    assert answer.usage.total_tokens > 0
    chunks = list(client.completions.create(model=MODEL, prompt="Once upon a time", stream=True))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == answer.choices[0].text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len(sim.inference()) == 2


def test_models_are_listed_and_found(client, sim):
    ids = [model.id for model in client.models.list()]
    assert MODEL in ids and len(ids) == len(set(ids))
    assert client.models.retrieve(MODEL).id == MODEL
    assert not sim.inference()


@every_route
def test_a_dialogue_keeps_its_session_and_no_two_share_one(client, sim, route):
    for topic in ("apples", "pears"):
        dialogue = route(client, f"Tell me about {topic}.")
        for turn in range(3):
            assert dialogue.plain().text.startswith(GREETING)
            dialogue.say(f"More about {topic}, part {turn}.")
    sessions = [sent.headers["session-id"] for sent in sim.inference()]
    assert len(sessions) == 6
    assert sessions == [sessions[0]] * 3 + [sessions[3]] * 3
    assert sessions[0] != sessions[3]
    last = sim.inference()[-1]
    assert [i["role"] for i in last.items if i["role"] != "developer"] == [
        "user",
        "assistant",
    ] * 2 + ["user"]


@every_route
def test_answers_to_parallel_requests_are_not_mixed_up(client, sim, route):
    asked = [f"question {n} [sim slow: 20]" for n in range(6)]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda text: route(client, text).raw().text, asked))
    assert answers == [GREETING + text for text in asked]
    assert len({sent.headers["session-id"] for sent in sim.inference()}) == len(asked)
