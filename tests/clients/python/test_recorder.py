"""The judges themselves: they accept what is right and refuse what is wrong."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import httpx2
import pytest
from harness import TOKEN, Sent
from recorder import Exchange, error_complaints

CHUNK = {
    "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
    "choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": None, "finish_reason": None}],
}  # fmt: skip
COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi", "refusal": None},
                 "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip
CREATED = {
    "type": "response.created", "sequence_number": 0,
    "response": {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None,
        "incomplete_details": None, "instructions": None, "model": "m", "tools": [],
        "output": [{
            "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
        }],
        "parallel_tool_calls": True, "metadata": {}, "tool_choice": "auto", "temperature": 1.0,
        "top_p": 1.0, "usage": None,
    },
}  # fmt: skip
JUDGED = {
    "CreateChatCompletionResponse": COMPLETION,
    "CreateChatCompletionStreamResponse": CHUNK,
    "ResponseStreamEvent": CREATED,
    "Response": CREATED["response"],
    "ListModelsResponse": {
        "object": "list",
        "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "me"}],
    },
}
MISSING = object()
CORRUPTIONS = [
    ("CreateChatCompletionResponse", "choices/0/message/refusal", MISSING),
    ("CreateChatCompletionStreamResponse", "choices/0/finish_reason", MISSING),
    ("ResponseStreamEvent", "sequence_number", MISSING),
    ("ResponseStreamEvent", "response/output/0/content/0/annotations", MISSING),
    ("Response", "metadata", MISSING),
    ("CreateChatCompletionResponse", "choices/0/finish_reason", "done"),
    ("CreateChatCompletionResponse", "choices/0/message/role", "user"),
    ("CreateChatCompletionResponse", "created", 1.5),
    ("CreateChatCompletionResponse", "usage/total_tokens", "2"),
    ("CreateChatCompletionStreamResponse", "choices/0/delta/content", 7),
    ("CreateChatCompletionStreamResponse", "object", "chat.completion"),
    ("ResponseStreamEvent", "type", "response.unheard_of"),
    ("ResponseStreamEvent", "response/output/0/content/0/text", None),
    ("ResponseStreamEvent", "response/output/0/type", "massage"),
    ("Response", "status", "finished"),
    ("Response", "tools", None),
    ("ListModelsResponse", "data/0/created", None),
]


@pytest.fixture
def judge(document):
    if document is None:
        pytest.skip("there is no published document here")
    return document


@pytest.mark.parametrize("name", JUDGED)
def test_a_right_body_passes(judge, name):
    assert judge.complaints(name, JUDGED[name]) == []


@pytest.mark.parametrize(("name", "path", "value"), CORRUPTIONS)
def test_a_corrupted_body_is_refused(judge, name, path, value):
    body = copy.deepcopy(JUDGED[name])
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    node = body
    for step in way:
        node = node[step]
    node[last] = value
    if value is MISSING:
        del node[last]
    (complaint,) = judge.complaints(name, body)
    assert complaint.startswith(name), complaint


def exchange(route: str, text: str, kind: str = "text/event-stream", status: int = 200) -> Exchange:
    headers = httpx2.Headers({"content-type": kind, "x-request-id": "req_1"})
    return Exchange(route, status, headers, text.encode(), ended=True)


CHAT, RESPONSES = "POST /v1/chat/completions", "POST /v1/responses"
DATA = f"data: {json.dumps(CHUNK)}\n\n"
EVENT = f"event: response.created\ndata: {json.dumps(CREATED)}\n\n"
FAILED = 'data: {"error": {"message": "m", "type": "t", "param": null, "code": null}}\n\n'


@pytest.mark.parametrize(("route", "text", "wrong"), [
    (CHAT, DATA + "data: [DONE]\n\n", None),
    (CHAT, ": ping\n\n" + DATA + FAILED, None),
    (CHAT, DATA, "does not end"),
    (CHAT, DATA + "data: [DONE]\n\n" + DATA, "does not end"),
    (CHAT, DATA + DATA.replace("chatcmpl-1", "chatcmpl-2") + "data: [DONE]\n\n", "the id changes"),
    (CHAT, DATA + 'data: {"error": {"message": "m"}}\n\n', "error.type"),
    (RESPONSES, EVENT, "does not end"),
    (RESPONSES, EVENT.replace("event: response.created", "event: x"), "event x carries"),
    (RESPONSES, EVENT + EVENT, "sequence numbers"),
])  # fmt: skip
def test_the_order_of_a_stream_is_judged(route, text, wrong):
    found = exchange(route, text).complaints(None)
    assert any(wrong in complaint for complaint in found) if wrong else found == []


@pytest.mark.parametrize("body", [
    "text", {"detail": "no"}, {"error": "no"},
    {"error": {"message": "m", "type": "t", "param": None}},
    {"error": {"message": None, "type": "t", "param": None, "code": None}},
])  # fmt: skip
def test_an_error_of_another_shape_is_refused(body):
    assert error_complaints(body)
    assert exchange(CHAT, json.dumps(body), "application/json", 500).complaints(None)


SENT = Sent(
    method="POST",
    path="/backend-api/codex/responses",
    headers={
        "authorization": "Bearer login", "chatgpt-account-id": "a", "session-id": "s",
        "content-type": "application/json",
    },
    body={
        "model": "m", "instructions": ".", "store": False, "stream": True,
        "input": [
            {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "o"},
        ],
    },
    cancelled=False,
)  # fmt: skip


def test_a_right_upstream_request_passes():
    assert SENT.complaints() == []


@pytest.mark.parametrize(("part", "change", "wrong"), [
    ("body", {"store": True}, "store is not false"),
    ("body", {"stream": False}, "stream is not true"),
    ("body", {"instructions": ""}, "no instructions"),
    ("body", {"temperature": 1}, "field temperature"),
    ("body", {"prompt_cache_key": TOKEN}, "the relay token went upstream"),
    ("body", {"input": SENT.items[:1]}, "function_call without output or the reverse"),
    ("body", {"input": SENT.items[1:]}, "function_call without output or the reverse"),
    ("body", {"input": [{"role": "system", "content": "x"}]}, "a system message"),
    ("headers", {"authorization": f"Bearer {TOKEN}"}, "the relay token went upstream"),
    ("headers", {"session-id": ""}, "no session-id header"),
    ("headers", {"x-stainless-lang": "js"}, "header x-stainless-lang"),
])  # fmt: skip
def test_a_wrong_upstream_request_is_refused(part, change, wrong):
    assert replace(SENT, **{part: getattr(SENT, part) | change}).complaints() == [wrong]
