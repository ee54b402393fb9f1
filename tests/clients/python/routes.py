"""The two big routes behind one small face, so that a test is written once and run on both.

Not here: what is particular to one of them; those tests call the SDK themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from openai import OpenAI
from pydantic import BaseModel

MODEL = "gpt-5.5"


@dataclass
class Answer:
    """What both routes tell, under one set of names."""

    text: str
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    tokens: int = 0
    parsed: Any = None
    raw: Any = None


class Chat:
    """Chat Completions, with the history kept as messages."""

    def __init__(self, client: OpenAI, text: str, *, model: str = MODEL, **how: Any) -> None:
        self.call = client.chat.completions
        self.history: list[Any] = [{"role": "system", "content": "Be brief."}]
        self.how = {"model": model, **how}
        self.say(text)

    def say(self, content: Any) -> None:
        self.history.append({"role": "user", "content": content})

    @staticmethod
    def image(text: str, url: str) -> list[Any]:
        return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]

    @staticmethod
    def tool(name: str, parameters: Any) -> Any:
        return {"type": "function", "function": {"name": name, "parameters": parameters}}

    def results(self, results: dict[str, str]) -> None:
        self.history += [{"role": "tool", "tool_call_id": call, "content": text}
                         for call, text in results.items()]  # fmt: skip

    def read(self, completion: Any) -> Answer:
        message = completion.choices[0].message
        self.history.append(message.to_dict(warnings=False))
        return Answer(
            text=message.content or "",
            calls=[(c.id, c.function.name, json.loads(c.function.arguments))
                   for c in message.tool_calls or []],
            tokens=completion.usage.total_tokens if completion.usage else 0,
            parsed=getattr(message, "parsed", None),
            raw=completion,
        )  # fmt: skip

    def plain(self) -> Answer:
        return self.read(self.call.create(messages=self.history, **self.how))

    def events(self):
        asked = {"stream_options": {"include_usage": True}}
        return self.call.create(messages=self.history, stream=True, **asked, **self.how)

    def raw(self) -> Answer:
        chunks = list(self.events())
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert [d.role for d in deltas if d.role] == ["assistant"], "the role comes once"
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1], "no finish reason"
        last = chunks[-1]
        assert not last.choices and last.usage, "the usage chunk comes last and holds no choice"
        return Answer("".join(d.content or "" for d in deltas), tokens=last.usage.total_tokens)

    def helper(self) -> Answer:
        asked = {"stream_options": {"include_usage": True}}
        with self.call.stream(messages=self.history, **asked, **self.how) as stream:
            return self.read(stream.get_final_completion())

    def shape(self, shape: type[BaseModel]) -> None:
        self.how["response_format"] = shape

    def parse(self) -> Answer:
        return self.read(self.call.parse(messages=self.history, **self.how))


class Responses:
    """Responses, with the history kept as input items."""

    def __init__(self, client: OpenAI, text: str, *, model: str = MODEL, **how: Any) -> None:
        self.call = client.responses
        self.history: list[Any] = []
        self.how = {"model": model, "instructions": "Be brief.", **how}
        self.say(text)

    def say(self, content: Any) -> None:
        self.history.append({"role": "user", "content": content})

    @staticmethod
    def image(text: str, url: str) -> list[Any]:
        return [{"type": "input_text", "text": text},
                {"type": "input_image", "image_url": url, "detail": "auto"}]  # fmt: skip

    @staticmethod
    def tool(name: str, parameters: Any) -> Any:
        return {"type": "function", "name": name, "parameters": parameters, "strict": False}

    def results(self, results: dict[str, str]) -> None:
        self.history += [{"type": "function_call_output", "call_id": call, "output": text}
                         for call, text in results.items()]  # fmt: skip

    def read(self, response: Any) -> Answer:
        self.history += [item.to_dict(warnings=False) for item in response.output]
        assert response.status == "completed" and not response.error
        return Answer(
            text=response.output_text,
            calls=[(i.call_id, i.name, json.loads(i.arguments))
                   for i in response.output if i.type == "function_call"],
            tokens=response.usage.total_tokens,
            parsed=getattr(response, "output_parsed", None),
            raw=response,
        )  # fmt: skip

    def plain(self) -> Answer:
        return self.read(self.call.create(input=self.history, **self.how))

    def events(self):
        return self.call.create(input=self.history, stream=True, **self.how)

    def raw(self) -> Answer:
        events = list(self.events())
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        answer = self.read(events[-1].response)
        streamed = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        assert streamed in (answer.text, ""), "deltas and final text differ"
        return answer

    def helper(self) -> Answer:
        with self.call.stream(input=self.history, **self.how) as stream:
            return self.read(stream.get_final_response())

    def shape(self, shape: type[BaseModel]) -> None:
        self.how["text_format"] = shape

    def parse(self) -> Answer:
        return self.read(self.call.parse(input=self.history, **self.how))


ROUTES = [Chat, Responses]
WAYS = ["plain", "raw", "helper"]
