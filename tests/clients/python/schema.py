"""Judges bodies and events by OpenAI's published API document.

The document is read where it lies: `AIRELAYS_OPENAPI`, or else `shared/data/openai-openapi.json`
in the nearest folder above the repository that has one. It is not part of the project. Without it
the tests still run, and say loudly that nothing was judged.

Its schemas are taken at their word but for `EXCEPTIONS`; every entry there says why.

Not here: reading responses off the wire (`recorder`).
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema


def where() -> pathlib.Path | None:
    """Where the document lies, if there is one."""
    if named := os.environ.get("AIRELAYS_OPENAPI"):
        return pathlib.Path(named)
    beside = [above / "shared/data/openai-openapi.json" for above in pathlib.Path(__file__).parents]
    return next((path for path in beside if path.exists()), None)


DOCUMENT = "urn:openapi"
BASE = "#/components/schemas/"
NULL = {"type": "null"}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, NULL]}


# (schema, path inside it) -> (what is judged instead, why).
EXCEPTIONS: dict[tuple[str, str], tuple[Any, str]] = {
    ("Response", "allOf/2/properties/usage"): (
        nullable({"$ref": BASE + "ResponseUsage"}),
        "the document's own examples carry `usage: null` until the response has ended",
    ),
    ("ModelResponseProperties", "properties/user"): (
        nullable({"type": "string"}),
        "the document's own examples carry `user: null`",
    ),
    ("ResponseUsage", "properties/input_tokens_details/required"): (
        ["cached_tokens"],
        "the upstream's older models do not tell what they wrote to the cache",
    ),
    ("ResponseFailedEvent", "properties/response"): (
        {
            "type": "object",
            "required": ["id", "object", "created_at", "status", "error"],
            "properties": {"status": {"enum": ["failed"]}, "error": {"type": "object"}},
        },
        "the upstream tells no more of a response that failed, and nothing is invented",
    ),
    ("ResponseFunctionCallArgumentsDoneEvent", "required"): (
        ["type", "item_id", "output_index", "arguments", "sequence_number"],
        "the upstream leaves out the name; clients have it from the item",
    ),
    ("WebSearchToolCall", "required"): (
        ["id", "type", "status"],
        "the upstream begins a search before it says what it does",
    ),
    ("ChatCompletionMessageList", "properties/data/items"): (
        {
            "type": "object",
            "required": ["id", "role", "content"],
            "properties": {"id": {"type": "string"}, "role": {"type": "string"}},
        },
        "the document's own example is a message of a user, in a schema for assistants",
    ),
    ("CreateCompletionResponse", "properties/choices/items/properties/finish_reason"): (
        nullable({"type": "string", "enum": ["stop", "length", "content_filter"]}),
        "the same schema serves the pieces of a stream, which are not finished",
    ),
    **{
        (name, "properties/size"): (
            {"type": "string", "pattern": r"^\d+x\d+$"},
            "the upstream chooses sizes of its own; the document itself lets them be asked for",
        )
        for name in ("ImagesResponse", "ImageGenCompletedEvent", "ImageEditCompletedEvent")
    },
}


def rewritten(node: Any) -> Any:
    """`nullable: true` of the older dialect as the `null` type of the newer one, everywhere."""
    if isinstance(node, list):
        return [rewritten(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {key: rewritten(value) for key, value in node.items() if key != "nullable"}
    return nullable(plain) if node.get("nullable") is True else plain


class Document:
    """The published schemas, ready to judge."""

    def __init__(self, path: pathlib.Path) -> None:
        schemas = json.loads(path.read_text())["components"]["schemas"]
        for (name, inside), (instead, _) in EXCEPTIONS.items():
            *way, last = inside.split("/")
            node = schemas[name]
            for step in way:
                node = node[int(step) if isinstance(node, list) else step]
            assert last in node, f"the exception {name}/{inside} has lost its place"
            node[last] = instead
        self.schemas: dict[str, Any] = rewritten(schemas)
        resource = referencing.Resource.from_contents(
            {"components": {"schemas": self.schemas}},
            default_specification=referencing.jsonschema.DRAFT202012,
        )
        registry = referencing.Registry().with_resource(DOCUMENT, resource)
        draft = jsonschema.Draft202012Validator
        keywords = {"oneOf": self.union, "anyOf": self.union}
        self.validator = jsonschema.validators.extend(draft, keywords)({}, registry=registry)
        self.plain = {name: draft.VALIDATORS[name] for name in keywords}

    def target(self, branch: dict[str, Any]) -> dict[str, Any]:
        name = branch.get("$ref", "")
        return self.schemas[name.removeprefix(BASE)] if name.startswith(BASE) else branch

    def kinds(self, branch: dict[str, Any]) -> list[str] | None:
        """The values of `type` that a branch of a union is for, when it or a part of it says so."""
        schema = self.target(branch)
        kind = schema.get("properties", {}).get("type", {})
        if own := kind.get("enum") or ([kind["const"]] if "const" in kind else None):
            return own
        return next((kinds for part in schema.get("allOf", []) if (kinds := self.kinds(part))), None)

    def union(self, validator: Any, branches: Any, value: Any, schema: Any) -> Iterator[Any]:
        """A union told apart by `type` is judged by the one branch meant.

        Otherwise one wrong field of an event would be reported as fifty branches that do not fit,
        and a branch that leaves `type` open would let anything through.
        """
        if isinstance(value, dict) and "type" in value:
            told = [(self.kinds(b), b) for b in branches]
            meant = [b for kind, b in told if kind and value["type"] in kind]
            closed = all(kind for kind, b in told if b != NULL)
            if len(meant) == 1:
                yield from validator.descend(value, meant[0])
                return
            if closed and not meant:
                yield jsonschema.ValidationError(f"no such type here: {value['type']!r}")
                return
        keyword = "oneOf" if schema.get("oneOf") is branches else "anyOf"
        yield from self.plain[keyword](validator, branches, value, schema)

    def complaints(self, name: str, value: Any) -> list[str]:
        """Where `value` is not a `name`; empty when it is one."""
        judge = self.validator.evolve(schema={"$ref": DOCUMENT + BASE + name})
        return [f"{name}{error.json_path[1:]}: {error.message[:300]}"
                for error in judge.iter_errors(value)]  # fmt: skip
