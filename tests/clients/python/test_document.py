"""Every parameter that the published document has is in the tables of `docs/api.md`."""

from __future__ import annotations

import json

import harness
import pytest
import schema

PAGE = harness.ROOT / "docs" / "api.md"
BODIES = {
    "POST /v1/chat/completions": "CreateChatCompletionRequest",
    "POST /v1/responses": "CreateResponse",
    "POST /v1/responses/compact": "CompactResponseMethodPublicBody",
    "POST /v1/completions": "CreateCompletionRequest",
}


def documented(route: str) -> set[str]:
    """The parameters in the table of this route."""
    _, _, rest = PAGE.read_text().partition(f"### `{route}`\n")
    table, _, _ = rest.partition("\n#")
    rows = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(set(rows)) > 20, route
    return set(rows)


def published(name: str) -> set[str]:
    """The properties of a schema of the document, those of its parts included."""
    path = schema.where()
    if path is None:
        pytest.skip("no published document")
    document = json.loads(path.read_text())

    def properties(part: dict) -> set[str]:
        if "$ref" in part:
            return properties(document["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]])
        own = set(part.get("properties", {}))
        return own.union(*(properties(one) for one in part.get("allOf", [])))

    return properties(document["components"]["schemas"][name])


@pytest.mark.parametrize(("route", "name"), BODIES.items())
def test_every_published_parameter_is_decided(route: str, name: str) -> None:
    assert published(name) - documented(route) == set()


def test_the_judge_reads_the_document() -> None:
    assert {"messages", "temperature", "model", "stream"} <= published("CreateChatCompletionRequest")
    assert {"input", "temperature", "include"} <= published("CreateResponse")
