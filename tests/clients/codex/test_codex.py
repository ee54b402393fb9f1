"""The real Codex CLI: as a judge of the simulator, and as a client of the relay.

Against the simulator it behaves as it does towards the real upstream, so what it accepts there is
evidence for what the relay's own tests stand on.
"""

from __future__ import annotations

import base64
import datetime
import json

import harness

GREETING = "Hello from the simulator. You said: "
COMMAND = "printf 'worked-%s' $((6 * 7))"
CALL = "[sim call: exec_command " + json.dumps({"cmd": COMMAND}) + "]"
PATCH = "*** Begin Patch\n*** Add File: made.txt\n+one\n+two\n*** End Patch"
# What the CLI does at its maker's only, it also does at a provider of this name.
OPENAI = ("-c", 'model_providers.under-test.name="OpenAI"')
COMPACTING = ("-c", "model_auto_compact_token_limit=5000")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def posts(sim: harness.Simulator, path: str) -> list[harness.Sent]:
    return [sent for sent in sim.requests() if sent.method == "POST" and sent.path == path]


def round_trip(codex, sim: harness.Simulator) -> None:
    """A command of the simulator's is run, and its output goes back in the same session."""
    answer = codex.ask("--ephemeral", f"Run something. {CALL}")
    assert answer.startswith("The tool said: ") and "worked-42" in answer
    first, second = sim.inference()
    assert "exec_command" in [tool.get("name") for tool in first.body["tools"]]
    (output,) = second.outputs().values()
    assert "worked-42" in str(output)
    assert first.headers["session-id"] == second.headers["session-id"]


def picture(codex, sim: harness.Simulator) -> None:
    """A file is shown to the model."""
    (codex.home / "pixel.png").write_bytes(PIXEL)
    answer = codex.ask("--ephemeral", "-i", str(codex.home / "pixel.png"), "--", "What is this?")
    assert answer.startswith(GREETING)
    (part,) = [p for p in sim.only().items[-1]["content"] if p["type"] == "input_image"]
    assert part["image_url"] == "data:image/png;base64," + base64.b64encode(PIXEL).decode()


def kinds(sent: harness.Sent) -> list[str]:
    """What follows the developer's messages and the environment."""
    return [item["type"] for item in sent.items[3:]]


def compacted(codex, sim: harness.Simulator, *args: str) -> tuple[harness.Sent, ...]:
    """The turn before, the compaction and the turn after."""
    codex.ask(*COMPACTING, *args, "Remember seven. [sim reasoning: 2]")
    answer = codex.ask(*COMPACTING, *args, "resume", "--last", "What was it?")
    assert answer == GREETING + "What was it?"
    sent = sim.inference()
    assert [request_kind(one)[0] for one in sent] == ["turn", "compaction", "turn"]
    assert len({one.headers["session-id"] for one in sent}) == 1
    assert [one.complaints() for one in sent] == [[], [], []]
    return tuple(sent)


def request_kind(sent: harness.Sent) -> tuple[str, str | None]:
    """What the CLI says that a request is, and how it compacts."""
    told = json.loads(sent.headers["x-codex-turn-metadata"])
    return told["request_kind"], told.get("compaction", {}).get("implementation")


def test_a_device_login_ends_with_tokens(codex, sim):
    tokens = codex.auth()["tokens"]
    assert all(tokens[name] for name in ("id_token", "access_token", "refresh_token", "account_id"))
    assert len(posts(sim, "/api/accounts/deviceauth/usercode")) == 1
    assert len(posts(sim, "/api/accounts/deviceauth/token")) == 2, "one is answered: not yet"


def test_an_answer_is_read_to_its_end(codex, sim):
    assert codex.ask("--ephemeral", "Say hello.") == GREETING + "Say hello."
    assert sim.only().headers["chatgpt-account-id"] == codex.auth()["tokens"]["account_id"]


def test_a_command_is_run_and_told_back(codex, sim):
    round_trip(codex, sim)


def test_an_image_is_taken(codex, sim):
    picture(codex, sim)


def test_a_resumed_dialogue_keeps_its_session(codex, sim):
    codex.ask("Remember seven.")
    codex.ask("resume", "--last", "What was it?")
    first, second = sim.inference()
    assert first.headers["session-id"] == second.headers["session-id"]
    assert "Remember seven." in json.dumps(second.items)


def test_a_401_costs_one_refresh_and_no_answer(codex, sim):
    before = codex.auth()["tokens"]["refresh_token"]
    sim.expire()
    assert codex.ask("--ephemeral", "Say hello.") == GREETING + "Say hello."
    assert sim.counters()["refreshes"] == 1
    assert sim.counters()["spent_refreshes"] == 0
    assert codex.auth()["tokens"]["refresh_token"] != before


def test_a_limit_is_told_with_its_reset(codex, sim):
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    events = codex.exec("--ephemeral", "Say hello. [sim limit: 3600]", ok=False)
    (told,) = [event["error"]["message"] for event in events if event["type"] == "turn.failed"]
    near = [soon + datetime.timedelta(minutes=late) for late in (0, 1)]
    assert any(f"{time:%I:%M %p}".lstrip("0") in told for time in near), told
    assert len(sim.inference()) == 1, "a spent limit is not tried twice"


def test_a_cut_stream_is_a_failure(codex, sim):
    events = codex.exec("--ephemeral", "Say hello. [sim cut-after-text]", ok=False)
    assert events[-1]["type"] == "turn.failed"


def test_a_logout_revokes(codex, sim):
    codex.run("logout")
    assert len(posts(sim, "/oauth/revoke")) == 1
    assert not (codex.home / "auth.json").exists()


def test_the_relay_answers_it(relayed):
    codex, sim = relayed
    assert codex.ask("--ephemeral", "Say hello.") == GREETING + "Say hello."
    assert not sim.only().complaints()


def test_the_relay_carries_its_tools(relayed):
    codex, sim = relayed
    round_trip(codex, sim)
    assert [sent.complaints() for sent in sim.inference()] == [[], []]


def test_the_relay_carries_its_patches(relayed):
    codex, sim = relayed
    answer = codex.ask("--ephemeral", f"Make a file. [sim call: apply_patch {PATCH}]")
    assert "made.txt" in answer
    assert (codex.home / "work" / "made.txt").read_text() == "one\ntwo\n"
    first, second = sim.inference()
    (tool,) = [tool for tool in first.body["tools"] if tool.get("name") == "apply_patch"]
    assert tool["type"] == "custom" and tool["format"]["syntax"] == "lark"
    call, output = second.items[-2:]
    assert call["type"] == "custom_tool_call" and call["input"] == PATCH
    assert output["type"] == "custom_tool_call_output" and "made.txt" in output["output"]
    assert [sent.complaints() for sent in (first, second)] == [[], []]


def test_the_relay_carries_the_scripts_of_newer_models(relayed):
    codex, sim = relayed
    script = f"text((await tools.exec_command({json.dumps({'cmd': COMMAND})})).output)"
    answer = codex.ask("--ephemeral", "-m", "gpt-5.6-sol", f"Run it. [sim call: exec {script}]")
    assert answer.endswith("worked-42")
    first, second = sim.inference()
    assert first.items[0]["type"] == "additional_tools" and not first.body.get("tools")
    call, output = second.items[-2:]
    assert (call["namespace"], call["input"]) == ("functions", script)
    assert output["output"][-1] == {"type": "input_text", "text": "worked-42"}
    assert [sent.complaints() for sent in (first, second)] == [[], []]


def test_the_relay_shows_its_images(relayed):
    codex, sim = relayed
    picture(codex, sim)
    assert not sim.only().complaints()


def test_the_relay_gives_its_thoughts_back(relayed):
    codex, sim = relayed
    codex.ask("Remember seven. [sim reasoning: 2]")
    codex.ask("resume", "--last", "What was it?")
    first, second = sim.inference()
    assert first.headers["session-id"] == second.headers["session-id"]
    assert kinds(first) == ["message"]
    assert kinds(second) == ["message", "reasoning", "message", "message"]
    thought = second.items[4]
    assert thought["encrypted_content"] and len(thought["summary"]) == 2
    assert [sent.complaints() for sent in (first, second)] == [[], []]


def test_the_relay_compacts_for_it(relayed):
    _, asked, after = compacted(*relayed, *OPENAI)
    assert request_kind(asked)[1] == "responses_compaction_v2"
    assert asked.headers["x-codex-beta-features"] == "remote_compaction_v2"
    assert kinds(asked) == ["message", "reasoning", "message", "compaction_trigger"]
    assert asked.items[-1] == {"type": "compaction_trigger"}
    assert kinds(after) == ["message", "compaction", "message"]
    assert after.items[4]["encrypted_content"]


def test_it_compacts_by_a_summary_elsewhere(relayed):
    _, asked, after = compacted(*relayed)
    assert request_kind(asked)[1] == "responses"
    assert kinds(asked) == ["message", "reasoning", "message", "message"]
    assert not asked.body.get("tools")
    assert kinds(after) == ["message", "message", "message"]
    wish, summary = asked.items[-1]["content"][0]["text"], after.items[4]["content"][0]["text"]
    assert GREETING + wish[:100] in summary


def test_the_relay_names_its_models(discovering):
    codex, sim = discovering
    events = codex.exec("--ephemeral", "Say hello.")
    assert not [event for event in events if event.get("item", event)["type"] == "error"]
    known = json.loads((codex.home / "models_cache.json").read_text())
    assert known["etag"] and "gpt-5.5" in [model["slug"] for model in known["models"]]
    # The list's words for this model take the place of those that the CLI brings along.
    assert sim.only().items[0]["content"][0]["text"] == "You are Codex."


def test_the_relay_reads_its_compressed_bodies(signed_in):
    codex, sim, encodings = signed_in
    assert codex.ask("--ephemeral", *OPENAI, "Say hello.") == GREETING + "Say hello."
    assert encodings == ["zstd"]
    sent, tokens = sim.only(), codex.auth()["tokens"]
    assert "content-encoding" not in sent.headers
    assert not sent.complaints(tokens["access_token"])
    assert sent.headers["chatgpt-account-id"] != tokens["account_id"]


def test_the_relay_tells_it_of_a_limit(relayed):
    codex, _ = relayed
    events = codex.exec("--ephemeral", "Say hello. [sim limit: 3600]", ok=False)
    assert events[-1]["type"] == "turn.failed"
    assert "limit" in events[-1]["error"]["message"]


def test_it_is_told_at_once_that_there_is_no_websocket(relayed):
    codex, _ = relayed
    websockets = ("-c", "model_providers.under-test.supports_websockets=true")
    events = codex.exec("--ephemeral", *websockets, "Say hello.")
    assert not [event for event in events if event.get("item", event)["type"] == "error"]
