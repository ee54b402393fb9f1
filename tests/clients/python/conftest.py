"""What every test of the Python SDK starts from, and what is judged after each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import harness
import httpx2
import pytest
from openai import OpenAI
from recorder import Recorder
from schema import Document, where


@pytest.fixture(scope="session")
def document() -> Document | None:
    path = where()
    return Document(path) if path else None


def pytest_terminal_summary(terminalreporter) -> None:
    if not where():
        terminalreporter.section("NOTHING WAS JUDGED BY THE PUBLISHED SCHEMAS", red=True)
        terminalreporter.line("there is no document; set AIRELAYS_OPENAPI to its path")


@pytest.fixture
def relay(tmp_path) -> Iterator[harness.Relay]:
    with harness.relay(tmp_path) as running:
        yield running


@pytest.fixture
def sim(relay) -> harness.Simulator:
    return relay.sim


@pytest.fixture
def recorder(relay, document) -> Iterator[Recorder]:
    """Judges, after the test, all that its clients received and all that went upstream."""
    recorder = Recorder()
    yield recorder
    for sent in relay.sim.inference():
        assert not sent.complaints(), sent
    for exchange in [] if recorder.forwards_quirks else recorder.exchanges:
        assert not exchange.complaints(document), exchange.body[-2000:]


@pytest.fixture
def connect(relay, recorder) -> Iterator[Callable[..., OpenAI]]:
    """Makes a client; keywords are constructor arguments."""
    with contextlib.ExitStack() as made:

        def make(**how) -> OpenAI:
            how = {"api_key": relay.token, "max_retries": 0, "timeout": 20.0} | how
            http = made.enter_context(httpx2.Client(transport=recorder))
            return OpenAI(base_url=relay.url, http_client=http, **how)

        yield make


@pytest.fixture
def client(connect) -> OpenAI:
    return connect()
