"""Failures: the right exception, its request id, and never a broken answer that looks whole."""

from __future__ import annotations

import time

import openai
import pytest
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError
from routes import MODEL, ROUTES, Chat, Responses

TOLD = 'Say "hello". '
every_route = pytest.mark.parametrize("route", ROUTES)


def ask(route):
    return lambda client, text: route(client, text).plain()


def ask_streamed(route):
    return lambda client, text: list(route(client, text).events())


BOTH = [
    pytest.param(how(route), id=f"{route.__name__}-{how.__name__}")
    for route in ROUTES for how in (ask, ask_streamed)
]  # fmt: skip


@pytest.mark.parametrize("call", BOTH)
@pytest.mark.parametrize(("marker", "error", "statuses"), [
    ("limit", openai.RateLimitError, {429}),
    ("limit: seconds-only", openai.RateLimitError, {429}),
    ("limit: bare", openai.RateLimitError, {429}),
    ("error: usage_limit_reached", openai.RateLimitError, {429}),
    ("status: 500", openai.InternalServerError, {500, 502}),
    ("overloaded", openai.InternalServerError, {502, 503}),
    ("error: server_is_overloaded", openai.InternalServerError, {502, 503}),
    ("error-flat: server_error", openai.InternalServerError, {500, 502}),
    ("failed: server_error", openai.InternalServerError, {500, 502}),
    ("error-then-failed: server_error", openai.InternalServerError, {500, 502}),
    ("failed: context_length_exceeded", openai.BadRequestError, {400}),
    ("error: invalid_prompt", openai.BadRequestError, {400}),
    ("unauthorized", openai.InternalServerError, {503}),
    ("forbidden", openai.APIStatusError, {403, 502, 503}),
    ("cloudflare", openai.InternalServerError, {502, 503}),
    ("html: 502", openai.InternalServerError, {502}),
    ("cut", openai.InternalServerError, {502}),
    ("reset", openai.InternalServerError, {502}),
])  # fmt: skip
def test_a_failure_before_the_answer_is_an_exception(client, sim, call, marker, error, statuses):
    with pytest.raises(error) as raised:
        call(client, f"{TOLD}[sim {marker}]")
    caught = raised.value
    assert caught.status_code in statuses
    assert caught.request_id
    assert caught.message and "<html" not in caught.message.lower()
    if caught.status_code == 429:
        assert int(caught.response.headers["retry-after"]) > 0
    if caught.status_code == 400:
        assert len(sim.inference()) == 1, "a request at fault is not sent twice"


def test_a_limit_names_its_reset(client, sim):
    waits = []
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as raised:
            Chat(client, f"{TOLD}[sim limit]").plain()
        waits.append(int(raised.value.response.headers["retry-after"]))
        assert raised.value.code == "usage_limit_reached"
    assert 3600 >= waits[0] >= waits[1] > 3500


UNPROCESSABLE = openai.UnprocessableEntityError
REFUSED = [
    (lambda c: Responses(c, "Hi.", store=True).plain(), UNPROCESSABLE, "unsupported_parameter"),
    (lambda c: Chat(c, "Hi.", store=True).plain(), UNPROCESSABLE, "unsupported_parameter"),
    (lambda c: Chat(c, "Hi.", n=2).plain(), UNPROCESSABLE, None),
    (lambda c: Chat(c, "Hi.", stop=["."]).plain(), UNPROCESSABLE, "unsupported_parameter"),
    (lambda c: Responses(c, "Hi.", previous_response_id="resp_1").plain(), UNPROCESSABLE, None),
    (lambda c: c.models.retrieve("no-such-model"), openai.NotFoundError, "model_not_found"),
    (lambda c: c.get("/no-such-route", cast_to=object), openai.NotFoundError, None),
    (lambda c: c.embeddings.create(model=MODEL, input="x"), openai.InternalServerError, None),
    (lambda c: c.post("/responses", body=["a list"], cast_to=object), openai.BadRequestError, None),
]


@pytest.mark.parametrize(("what", "error", "code"), REFUSED)
def test_what_is_refused_here_never_reaches_the_upstream(client, sim, what, error, code):
    with pytest.raises(error) as raised:
        what(client)
    assert raised.value.request_id
    assert code in (None, raised.value.code)
    assert not sim.inference()


def test_a_wrong_token_is_refused(connect, sim):
    for key in ("wrong", "client-tests-relay-toke"):
        with pytest.raises(openai.AuthenticationError) as raised:
            Chat(connect(api_key=key), "Hi.").plain()
        assert raised.value.code == "invalid_api_key"
        assert key not in raised.value.message
    assert not sim.requests()


@every_route
@pytest.mark.parametrize("way", ["raw", "helper"])
@pytest.mark.parametrize(
    "marker",
    [
        "cut-after-text",
        "cut-mid-event",
        "reset-after-text",
        "fail-after-text: server_error",
        "error-after-text: server_error",
    ],
)
def test_a_failure_after_the_first_text_is_no_clean_end(client, sim, recorder, route, way, marker):
    dialogue = route(client, f"{TOLD}[sim {marker}]")
    with pytest.raises((APIError, RuntimeError, AssertionError)) as raised:
        getattr(dialogue, way)()
    if route is Chat or way == "raw":
        assert not isinstance(raised.value, RuntimeError)
    text = recorder.exchanges[-1].body.decode()
    assert recorder.exchanges[-1].status == 200
    assert "[DONE]" not in text and "response.completed" not in text
    if route is Chat:
        assert type(raised.value) is APIError and raised.value.message


def test_a_retry_of_the_client_finds_a_recovered_upstream(connect, sim):
    """What the relay itself does not retry, the SDK does when the answer lets it."""
    sim.script("status: 500", "status: 500", "status: 500", "status: 500", "say: recovered")
    assert Chat(connect(max_retries=5), "Hi.").plain().text == "recovered"


@every_route
def test_closing_a_stream_stops_the_upstream(client, sim, route):
    with route(client, f"{TOLD * 20}[sim slow: 150]").events() as stream:
        for _, _event in zip(range(4), stream, strict=False):
            pass
    assert sim.cancelled()


@every_route
def test_giving_up_on_a_plain_request_stops_the_upstream(connect, sim, route):
    began = time.monotonic()
    with pytest.raises(APITimeoutError):
        route(connect(timeout=0.6), f"{TOLD}[sim stall]").plain()
    assert time.monotonic() - began < 5
    assert sim.cancelled()


@every_route
def test_a_slow_start_is_waited_for(client, sim, route):
    assert route(client, f"{TOLD}[sim pause: 1500]").plain().text


def test_a_relay_that_is_gone_is_a_connection_error(connect, relay):
    client = connect(timeout=2.0)
    with pytest.raises(APIConnectionError):
        client.with_options(base_url="http://127.0.0.1:9/v1").models.list()
    assert not isinstance(APIConnectionError, APIStatusError)
