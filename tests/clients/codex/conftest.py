"""The Codex CLI in a home of its own, in a network that has only loopback."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import harness
import pytest

CODEX = pathlib.Path(__file__).parents[1] / "node_modules" / ".bin" / "codex"
SET_FLAGS, UP = 0x8914, 0x1 | 0x40  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING

COMMON = """
model = "gpt-5.5"
model_provider = "under-test"
check_for_update_on_startup = false
[analytics]
enabled = false
"""
PROVIDER = """
[model_providers.under-test]
name = "under test"
base_url = "{base_url}"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 0
stream_idle_timeout_ms = 15000
{login}
"""


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> None:
    names = [name for _, name in socket.if_nameindex()]
    if names != ["lo"]:
        pytest.exit(f"the Codex CLI is run through codex/run only; this network has {names}", 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))


@dataclass(frozen=True)
class Codex:
    """One CODEX_HOME."""

    home: pathlib.Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *args: str, ok: bool = True) -> str:
        """What a command prints; stderr is not part of it."""
        work = self.home / "work"
        work.mkdir(exist_ok=True)
        base = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [CODEX, *args], cwd=work, env={**base, "CODEX_HOME": str(self.home), **self.env},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, (
            f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def exec(self, *args: str, ok: bool = True) -> list[dict[str, Any]]:
        """The events of one turn."""
        free = "--dangerously-bypass-approvals-and-sandbox"
        printed = self.run("exec", "--skip-git-repo-check", "--json", free, *args, ok=ok)
        return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]

    def ask(self, *args: str) -> str:
        """The answer of one turn."""
        items = [e["item"] for e in self.exec(*args) if e["type"] == "item.completed"]
        return [item["text"] for item in items if item["type"] == "agent_message"][-1]

    def auth(self) -> dict[str, Any]:
        return json.loads((self.home / "auth.json").read_text())


@pytest.fixture
def sim(tmp_path) -> Iterator[harness.Simulator]:
    (home := tmp_path / "simulator").mkdir()
    with harness.simulator(home, "--world", "device_interval=1") as running:
        yield running


@pytest.fixture
def codex(tmp_path, sim) -> Codex:
    """Signed in at the simulator, as it would be at the real upstream."""
    (home := tmp_path / "codex").mkdir()
    base = f"{sim.url}/backend-api"
    config = f'chatgpt_base_url = "{base}/"\ncli_auth_credentials_store = "file"' + COMMON
    config += PROVIDER.format(base_url=f"{base}/codex", login="requires_openai_auth = true")
    (home / "config.toml").write_text(config)
    codex = Codex(home, {"CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{sim.url}/oauth/token"})
    codex.run("login", "--device-auth", "--experimental_issuer", sim.url)
    return codex


@contextlib.contextmanager
def _through(relay: harness.Relay, home: pathlib.Path) -> Iterator[Codex]:
    config = COMMON + PROVIDER.format(base_url=relay.url, login='env_key = "RELAY_KEY"')
    (home / "config.toml").write_text(config)
    yield Codex(home, {"RELAY_KEY": relay.token})


@pytest.fixture
def relayed(tmp_path) -> Iterator[tuple[Codex, harness.Simulator]]:
    """The CLI as a client of the relay, and the simulator behind that."""
    (home := tmp_path / "relay").mkdir()
    (codex_home := tmp_path / "codex").mkdir()
    with harness.relay(home) as relay, _through(relay, codex_home) as codex:
        yield codex, relay.sim
