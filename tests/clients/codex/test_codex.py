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
    (codex.home / "pixel.png").write_bytes(PIXEL)
    answer = codex.ask("--ephemeral", "-i", str(codex.home / "pixel.png"), "--", "What is this?")
    assert answer.startswith(GREETING)
    assert "data:image/png;base64," in json.dumps(sim.only().items)


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


def test_the_relay_tells_it_of_a_limit(relayed):
    codex, _ = relayed
    events = codex.exec("--ephemeral", "Say hello. [sim limit: 3600]", ok=False)
    assert events[-1]["type"] == "turn.failed"
    assert "limit" in events[-1]["error"]["message"]
