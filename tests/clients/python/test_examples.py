"""The examples of the documents, run as they stand against a relay that has what they name."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import harness
import pytest

PAGES = [harness.ROOT / "README.md", *sorted((harness.ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str, mark: str) -> list[pytest.param]:
    """Blocks of this kind that have the mark, each with its page and its line for a name."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.finditer(text):
            if block[1] == kind and mark in block[2]:
                line = text.count("\n", 0, block.start()) + 1
                found.append(pytest.param(block[2], id=f"{page.name}:{line}"))
    assert found, f"no block of {kind}"
    return found


def run(*command: str, relay: harness.Relay, home: pathlib.Path) -> str:
    """What a program says, in the surroundings that the documents speak of."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "OPENAI_BASE_URL": relay.url,
        "OPENAI_API_KEY": relay.token,
    }
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def relay(tmp_path):
    with harness.relay(tmp_path, "--stateful") as running:
        yield running


@pytest.fixture
def home(tmp_path, relay) -> pathlib.Path:
    """A home with the files that examples name."""
    home = tmp_path / "someone"
    for folder in (".airelays", ".airelays-test"):
        (home / folder).mkdir(parents=True)
    (home / ".airelays" / "relay-token").write_text(relay.token)
    (home / "notes.md").write_text("# Notes\n\nThe word is heron.\n")
    return home


@pytest.mark.parametrize("code", blocks("python", "OpenAI"))
def test_python(code, relay, home) -> None:
    (home / "example.py").write_text(code)
    run(sys.executable, "example.py", relay=relay, home=home)


@pytest.mark.parametrize("code", blocks("sh", "curl "))
def test_curl(code, relay, home) -> None:
    # The addresses of the documents are the usual ones, and a relay of a test has another.
    for usual in ("http://127.0.0.1:8080", "http://127.0.0.1:8081"):
        code = code.replace(usual, relay.url.removesuffix("/v1"))
    code = code.replace("http://127.0.0.1:8900", relay.sim.url)
    # There is one slot, and not every machine has `jq`.
    code = re.sub(r"\|\s*jq .*", "", code.replace("slots/2/", "slots/1/").replace("\\\n  | jq", "| jq"))
    # The simulator's page speaks of a relay that asks for no token.
    if "Authorization" not in code:
        code = code.replace("curl ", f'curl -H "Authorization: Bearer {relay.token}" ')
    said = run("bash", "-euc", code.replace("curl ", "curl -sS --fail-with-body "), relay=relay, home=home)
    assert said.strip() or ">" in code
