"""Tools: declared, called, answered; and every call that goes back up has its output."""

from __future__ import annotations

import json

import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel
from routes import MODEL, ROUTES, Chat, Responses

PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WORKED = {"weather": "It rains.", "clock": "It is noon."}

every_route = pytest.mark.parametrize("route", ROUTES)
both_ways = pytest.mark.parametrize("way", ["plain", "helper"])


def declared(route, *names):
    return {"tools": [route.tool(name, PLACE) for name in names]}


@every_route
@both_ways
@pytest.mark.parametrize(("marker", "names"), [
    ("call", ["weather"]),
    ("call: clock", ["weather", "clock"]),
    ("calls: 2", ["weather", "clock"]),
    ("call] [sim arguments-only-done", ["weather"]),
    ("call: clock] [sim no-index", ["weather", "clock"]),
    ("call] [sim no-deltas", ["weather"]),
])  # fmt: skip
def test_a_tool_makes_its_round_trip(client, sim, recorder, route, way, marker, names):
    recorder.forwards_quirks = route is Responses and "no-index" in marker
    dialogue = route(client, f"What is it like in Brest? [sim {marker}]", **declared(route, *names))
    asked = getattr(dialogue, way)()
    parallel = marker.startswith("calls")
    assert len(asked.calls) == (2 if parallel else 1)
    assert all(isinstance(arguments["city"], str) for _, _, arguments in asked.calls)
    assert len({call for call, _, _ in asked.calls}) == len(asked.calls)
    if "clock" in marker:
        assert [name for _, name, _ in asked.calls] == ["clock"]

    results = {call: f"{name}: {WORKED[name]}" for call, name, _ in asked.calls}
    dialogue.results(results)
    told = getattr(dialogue, way)()
    assert not told.calls
    assert told.text.startswith("The tool said: ")
    assert all(result in told.text for result in results.values())

    first, second = sim.inference()
    assert [tool["name"] for tool in first.body["tools"]] == names
    assert all(tool["strict"] is False for tool in first.body["tools"])
    assert {call: str(output) for call, output in second.outputs().items()} == results
    assert first.headers["session-id"] == second.headers["session-id"]


def test_streamed_calls_are_told_apart_by_their_index(client, sim):
    names = ["weather", "clock", "tide"]
    calls = {}
    for chunk in Chat(client, "[sim calls: 3]", **declared(Chat, *names)).events():
        for call in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            kept = calls.setdefault(
                call.index, {"id": call.id, "name": call.function.name, "text": ""}
            )
            assert call.id in (None, kept["id"])
            kept["text"] += call.function.arguments or ""
    assert sorted(calls) == [0, 1, 2]
    assert len({call["id"] for call in calls.values()}) == 3
    assert all(json.loads(call["text"])["city"] for call in calls.values())


def test_a_finish_reason_names_the_calls(client, sim):
    answer = Chat(client, "[sim call]", **declared(Chat, "weather")).plain().raw
    assert answer.choices[0].finish_reason == "tool_calls"


class Weather(BaseModel):
    """What the weather is like in a city."""

    city: str
    days: int


@both_ways
def test_arguments_of_a_strict_tool_are_parsed(client, sim, way):
    how = {"model": MODEL, "messages": [{"role": "user", "content": "[sim call]"}],
           "tools": [pydantic_function_tool(Weather)]}  # fmt: skip
    if way == "plain":
        completion = client.chat.completions.parse(**how)
    else:
        with client.chat.completions.stream(**how) as stream:
            completion = stream.get_final_completion()
    call = completion.choices[0].message.tool_calls[0]
    assert isinstance(call.function.parsed_arguments, Weather)
    assert sim.only().body["tools"][0]["strict"] is True


@every_route
def test_a_choice_of_tool_is_passed_on(client, sim, route):
    named = {"type": "function", "name": "clock"}
    choice = {"type": "function", "function": {"name": "clock"}} if route is Chat else named
    tools = declared(route, "weather", "clock")
    for given, wanted in [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (choice, named),
    ]:
        route(client, "Hello.", tool_choice=given, parallel_tool_calls=False, **tools).plain()
        assert sim.inference()[-1].body["tool_choice"] == wanted
        assert sim.inference()[-1].body["parallel_tool_calls"] is False


def test_free_form_input_of_a_custom_tool_arrives(client, sim):
    tools = [{"type": "custom", "name": "patch", "description": "Applies a patch."}]
    dialogue = Responses(client, "[sim custom]", tools=tools)
    call = next(i for i in dialogue.helper().raw.output if i.type == "custom_tool_call")
    assert call.name == "patch" and call.input
    output = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Applied."}
    dialogue.history.append(output)
    assert dialogue.plain().text == "The tool said: Applied."
    assert sim.inference()[-1].outputs() == {call.call_id: "Applied."}


def test_a_search_of_the_upstream_is_no_call_of_the_client(client, sim):
    tools = [{"type": "web_search"}]
    kinds = [
        item.type for item in Responses(client, "[sim search]", tools=tools).helper().raw.output
    ]
    assert set(kinds[:-1]) == {"web_search_call"}
    assert kinds[-1] == "message"
    assert [tool["type"] for tool in sim.only().body["tools"]] == ["web_search"]
