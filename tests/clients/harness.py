"""Starts the program under test and reads what its simulator received.

Every test gets a program of its own: a limit or a dead login leaves its mark on a slot, and one
test must not see another's.

**Invariant:** nothing of the caller's environment reaches the program but `PATH`; its home, data
directory and configuration are below a temporary directory.
**Invariant:** every wait has a deadline and says what it waited for.

Not here: what a client may say (`python/`, `javascript/`), the Codex CLI (`codex/`).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN = "client-tests-relay-token"

# What the upstream accepts; anything else is refused there, so nothing else may be sent.
ACCEPTED = {
    "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
    "store", "stream", "include", "service_tier", "prompt_cache_key", "text", "client_metadata",
    "max_output_tokens",
}  # fmt: skip
PAIRS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def binary() -> str:
    """The program under test: `AIRELAYS_BIN`, or the debug build."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    found = os.environ.get("AIRELAYS_BIN", str(target / "debug" / "airelays"))
    if not os.access(found, os.X_OK):
        raise RuntimeError(f"no program at {found}: run `cargo build --locked` or set AIRELAYS_BIN")
    return found


def wait_for(what: str, probe: Callable[[], T | None], seconds: float = 20) -> T:
    """The first answer of `probe` that is neither `None` nor false."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return answer


def free_port() -> int:
    """A port below those that the system hands out by itself, so that nothing else gets it first."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def fetch(url: str, body: Any = None) -> Any:
    """One JSON exchange with the simulator; a body makes it a POST."""
    request = urllib.request.Request(url, headers={"content-type": "application/json"})
    if body is not None:
        request.data = json.dumps(body).encode()
    with DIRECT.open(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text.strip().startswith((b"{", b"[")) else None


@dataclass(frozen=True)
class Sent:
    """One request as the simulator received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    cancelled: bool

    @property
    def items(self) -> list[dict[str, Any]]:
        return self.body["input"]

    def outputs(self) -> dict[str, Any]:
        """Tool results by call id."""
        return {i["call_id"]: i["output"] for i in self.items if i.get("type") in PAIRS.values()}

    def complaints(self, token: str = TOKEN) -> list[str]:
        """What an upstream inference request must never look like, as far as this one does."""
        body, heads = self.body, self.headers
        calls = {kind: {i.get("call_id") for i in self.items if i.get("type") == kind}
                 for pair in PAIRS.items() for kind in pair}  # fmt: skip
        rules = {
            "store is not false": body.get("store") is not False,
            "stream is not true": body.get("stream") is not True,
            "no instructions": not body.get("instructions"),
            "no session-id header": not heads.get("session-id"),
            "no account header": not heads.get("chatgpt-account-id"),
            "not JSON": not heads.get("content-type", "").startswith("application/json"),
            "the relay token went upstream": token in json.dumps([heads, body]),
            "no login of its own": not heads.get("authorization", "").startswith("Bearer "),
            "a system message": any(i.get("role") == "system" for i in self.items),
        }
        rules |= {f"field {key}": key not in ACCEPTED for key in body}
        rules |= {f"header {key}": key.startswith(("x-stainless", "openai-")) for key in heads}
        rules |= {f"{call} without output or the reverse": calls[call] != calls[output]
                  for call, output in PAIRS.items()}  # fmt: skip
        return [rule for rule, broken in rules.items() if broken]


@dataclass(frozen=True)
class Simulator:
    """The upstream's stand-in, seen from outside."""

    url: str

    def requests(self) -> list[Sent]:
        return [
            Sent(
                method=record["method"],
                path=record["path"],
                headers={name.lower(): value for name, value in record["headers"]},
                body=json.loads(b) if isinstance(b := record["body"], str) and b[:1] in "{[" else b,
                cancelled=record["cancelled"],
            )
            for record in fetch(f"{self.url}/sim/requests")
        ]

    def inference(self) -> list[Sent]:
        """The inference requests so far, oldest first."""
        return [r for r in self.requests() if r.method == "POST" and r.path.endswith("/responses")]

    def images(self) -> list[Sent]:
        """The requests for pictures so far, oldest first."""
        return [r for r in self.requests() if "/images/" in r.path]

    def only(self) -> Sent:
        """The one inference request there was."""
        sent = self.inference()
        assert len(sent) == 1, f"{len(sent)} inference requests instead of one"
        return sent[0]

    def cancelled(self) -> Sent:
        """The first inference request that was given up, once there is one."""
        return wait_for(
            "the upstream sees the cancellation",
            lambda: next((r for r in self.inference() if r.cancelled), None),
        )

    def counters(self) -> dict[str, Any]:
        return fetch(f"{self.url}/sim/counters")

    def script(self, *steps: str) -> None:
        fetch(f"{self.url}/sim/script", list(steps))

    def expire(self) -> None:
        """From now on, every access token so far earns a 401."""
        fetch(f"{self.url}/sim/expire", {})


@dataclass(frozen=True)
class Relay:
    url: str
    sim: Simulator
    token: str = TOKEN


@contextlib.contextmanager
def running(home: pathlib.Path, *args: str, ready: str, **env: str) -> Iterator[None]:
    """The program with these arguments, until the end of the block."""
    log = home / "output.txt"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRELAYS_DATA_DIR": str(home / "data"),
        "AIRELAYS_CONFIG": str(home / "config.toml"),
        **env,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            [binary(), *args],
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            cwd=home, env=environment,
        )  # fmt: skip

    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}:\n{log.read_text()}")
        with contextlib.suppress(OSError):
            DIRECT.open(ready, timeout=5).close()
            return True
        return False

    try:
        wait_for(f"{' '.join(args)} answers", answers)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not stop when asked to:\n{log.read_text()}") from None
    said = log.read_text()
    assert process.returncode == 0, f"ended with {process.returncode}:\n{said}"
    assert "panicked at" not in said, said


@contextlib.contextmanager
def simulator(home: pathlib.Path, *args: str) -> Iterator[Simulator]:
    """The simulator alone."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(home, "simulate", "--port", str(port), *args, ready=f"{url}/sim/counters"):
        yield Simulator(url)


@contextlib.contextmanager
def relay(home: pathlib.Path, *args: str, **env: str) -> Iterator[Relay]:
    """The relay with the simulator inside."""
    port, inside = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    ports = ("--port", str(port), "--simulator-port", str(inside))
    env = {"AIRELAYS_BEARER_TOKEN": TOKEN, **env}
    with running(home, "serve", "--simulate", *ports, *args, ready=f"{url}/healthz", **env):
        yield Relay(f"{url}/v1", Simulator(f"http://127.0.0.1:{inside}"))
