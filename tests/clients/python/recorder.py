"""Captures what a client received and judges all of it.

A transport below the SDK: it hands on the bytes unchanged and keeps a copy. Every JSON body and
every event is judged when its response ends, whether or not a test looks at it. An abandoned
stream is judged as far as it came.

Not here: the schemas and their exceptions (`schema`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
from schema import Document

# (route, streamed) -> schema of the body, or of each event.
ROUTES = {
    (r"POST /v1/chat/completions", False): "CreateChatCompletionResponse",
    (r"POST /v1/chat/completions", True): "CreateChatCompletionStreamResponse",
    (r"POST /v1/responses", False): "Response",
    (r"POST /v1/responses", True): "ResponseStreamEvent",
    (r"POST /v1/completions", False): "CreateCompletionResponse",
    (r"POST /v1/completions", True): "CreateCompletionResponse",
    (r"POST /v1/images/(generations|edits)", False): "ImagesResponse",
    (r"POST /v1/images/generations", True): "ImageGenStreamEvent",
    (r"POST /v1/images/edits", True): "ImageEditStreamEvent",
    (r"GET /v1/models", False): "ListModelsResponse",
    (r"GET /v1/models/[^/]+", False): "Model",
    (r"POST /v1/files", False): "OpenAIFile",
    (r"GET /v1/files", False): "ListFilesResponse",
    (r"GET /v1/files/[^/]+", False): "OpenAIFile",
    (r"DELETE /v1/files/[^/]+", False): "DeleteFileResponse",
    (r"POST /v1/conversations(/[^/]+)?", False): "ConversationResource",
    (r"GET /v1/conversations/[^/]+", False): "ConversationResource",
    (r"DELETE /v1/conversations/[^/]+", False): "DeletedConversationResource",
    (r"(GET|POST) /v1/conversations/[^/]+/items", False): "ConversationItemList",
    (r"GET /v1/conversations/[^/]+/items/[^/]+", False): "ConversationItem",
    (r"DELETE /v1/conversations/[^/]+/items/[^/]+", False): "ConversationResource",
    (r"GET /v1/responses/[^/]+", False): "Response",
    (r"GET /v1/responses/[^/]+", True): "ResponseStreamEvent",
    (r"POST /v1/responses/[^/]+/cancel", False): "Response",
    (r"GET /v1/responses/[^/]+/input_items", False): "ResponseItemList",
    (r"GET /v1/chat/completions", False): "ChatCompletionList",
    (r"(GET|POST) /v1/chat/completions/[^/]+", False): "CreateChatCompletionResponse",
    (r"DELETE /v1/chat/completions/[^/]+", False): "ChatCompletionDeleted",
    (r"GET /v1/chat/completions/[^/]+/messages", False): "ChatCompletionMessageList",
}
TERMINAL = {"response.completed", "response.incomplete", "response.failed", "error"}


def error_complaints(body: Any) -> list[str]:
    """Where a body is not `{"error": {message, type, param, code}}`."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return [f"no error object: {str(body)[:200]}"]
    text = {
        "message": (str,),
        "type": (str,),
        "param": (str, type(None)),
        "code": (str, type(None)),
    }
    return [f"error.{key} is {error.get(key, 'missing')!r}"
            for key, kinds in text.items()
            if key not in error or not isinstance(error[key], kinds)]  # fmt: skip


@dataclass
class Exchange:
    """One response, as the client was given it."""

    route: str
    status: int
    headers: httpx2.Headers
    body: bytes = b""
    ended: bool = False

    @property
    def streamed(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def frames(self) -> list[tuple[str | None, str]]:
        """Name and data of the events that arrived whole; comments are left out."""
        found = []
        text = re.sub(r"\r\n?", "\n", self.body.decode(errors="replace"))
        for block in text.split("\n\n")[:-1]:
            lines = [line.partition(":") for line in block.split("\n") if line[:1] != ":"]
            values = [(name, value.removeprefix(" ")) for name, _, value in lines]
            data = [value for name, value in values if name == "data"]
            if data:
                found.append((dict(values).get("event"), "\n".join(data)))
        return found

    def events(self) -> list[Any]:
        return [json.loads(data) for _, data in self.frames() if data != "[DONE]"]

    def json(self) -> Any:
        return json.loads(self.body)

    def complaints(self, document: Document | None) -> list[str]:
        """Everything that is wrong with this response."""
        found = [] if self.headers.get("x-request-id") else ["no x-request-id"]
        if self.status >= 400:
            return found + error_complaints(self.json())
        fits = [schema for (route, streamed), schema in ROUTES.items()
                if streamed == self.streamed and re.fullmatch(route, self.route)]  # fmt: skip
        name = fits[0] if fits else None
        judge = document.complaints if document and name else lambda *_: []
        if self.route.endswith("/content"):
            return found
        if not self.streamed:
            return found + (judge(name, self.json()) if self.ended else [])
        for event in self.events():
            bare = isinstance(event, dict) and "error" in event and "type" not in event
            found += error_complaints(event) if bare else judge(name, event)
        return found + self.order_complaints()

    def order_complaints(self) -> list[str]:
        """Whether the events come as the route promises, and the stream ends with its last one."""
        frames, events = self.frames(), self.events()
        found = []
        if "/v1/responses" in self.route:
            found += [f"event {name} carries {event['type']}"
                      for (name, _), event in zip(frames, events, strict=True)
                      if name != event["type"]]  # fmt: skip
            numbers = [event["sequence_number"] for event in events]
            if numbers != sorted(set(numbers)):
                found.append(f"sequence numbers {numbers}")
            ends = [event["type"] in TERMINAL for event in events]
        elif "/images/" in self.route:
            # Each of its events is whole by itself.
            names = [name for name, _ in frames]
            return [f"event {name}" for name in names if not name.endswith(".completed")]
        else:
            if len({event["id"] for event in events if "id" in event}) > 1:
                found.append("the id changes within the stream")
            ends = [data == "[DONE]" or "error" in json.loads(data) for _, data in frames]
        if self.ended and (not ends or ends.index(True) != len(ends) - 1 if any(ends) else True):
            found.append(f"the stream does not end with its one last event: {frames[-2:]}")
        return found


class Tee(httpx2.SyncByteStream):
    """Hands on a body and keeps it."""

    def __init__(self, inner: Any, exchange: Exchange) -> None:
        self.inner, self.exchange = inner, exchange

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.inner:
            self.exchange.body += chunk
            yield chunk
        self.exchange.ended = True

    def close(self) -> None:
        self.inner.close()


@dataclass
class Recorder(httpx2.BaseTransport):
    """The transport of every client in these tests."""

    exchanges: list[Exchange] = field(default_factory=list)
    # What the upstream itself gets wrong is handed on as it came: only its content is judged.
    forwards_quirks: bool = False
    inner: httpx2.BaseTransport = field(default_factory=httpx2.HTTPTransport)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self.inner.handle_request(request)
        route = f"{request.method} {request.url.path}"
        exchange = Exchange(route, response.status_code, response.headers)
        self.exchanges.append(exchange)
        response.stream = Tee(response.stream, exchange)
        return response

    def close(self) -> None:
        self.inner.close()
