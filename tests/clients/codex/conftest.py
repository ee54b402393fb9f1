"""The Codex CLI in a home of its own, in a network that has only loopback."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import json
import os
import pathlib
import socket
import struct
import subprocess
import threading
import urllib.request
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


def _through(url: str, home: pathlib.Path, login: str, top: str = "") -> Codex:
    (home / "config.toml").write_text(top + COMMON + PROVIDER.format(base_url=url, login=login))
    return Codex(home, {"RELAY_KEY": harness.TOKEN})


@contextlib.contextmanager
def _watched(target: str) -> Iterator[tuple[str, list[str | None]]]:
    """Another address of the relay, and how the bodies that were posted there are encoded."""
    encodings = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))) or None
            if body:
                encodings.append(self.headers["content-encoding"])
            url = target + self.path.removeprefix("/v1")
            with harness.DIRECT.open(urllib.request.Request(url, body, self.headers)) as answer:
                self.send_response(answer.status)
                self.send_header("content-type", answer.headers["content-type"])
                self.end_headers()
                self.wfile.write(answer.read())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", encodings
        finally:
            server.shutdown()


@pytest.fixture
def homes(tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """One for the relay and one for the CLI."""
    for home in (found := (tmp_path / "relay", tmp_path / "codex")):
        home.mkdir()
    return found


@pytest.fixture
def relayed(homes) -> Iterator[tuple[Codex, harness.Simulator]]:
    """The CLI as a client of the relay, and the simulator behind that."""
    with harness.relay(homes[0]) as relay:
        yield _through(relay.url, homes[1], 'env_key = "RELAY_KEY"'), relay.sim


@pytest.fixture
def discovering(homes) -> Iterator[tuple[Codex, harness.Simulator]]:
    """The same with the token from a command: only then does the CLI ask the relay for models."""
    with harness.relay(homes[0]) as relay:
        command = f'auth = {{ command = "echo", args = ["{relay.token}"] }}'
        yield _through(relay.url, homes[1], command), relay.sim


@pytest.fixture
def signed_in(homes) -> Iterator[tuple[Codex, harness.Simulator, list[str | None]]]:
    """The same with a login of the CLI's own, at a relay that wants no token; and its encodings."""
    with harness.relay(homes[0], "--no-auth") as relay, _watched(relay.url) as (url, encodings):
        top = f'chatgpt_base_url = "{relay.sim.url}/backend-api/"\n'
        top += 'cli_auth_credentials_store = "file"'
        codex = _through(url, homes[1], "requires_openai_auth = true", top)
        login = harness.fetch(f"{relay.sim.url}/sim/login?account=somebody-else")
        (codex.home / "auth.json").write_text(json.dumps(login))
        yield codex, relay.sim, encodings
