"""The breaking-change check: one mutation of a small document for each rule, and what is no break."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from api.breaking import RULES, accepted_in, breaks, main
from api.openapi_document import document
from tests.api.tools import ROOT

Document = dict[str, Any]
OPENAPI = ROOT / "openapi"
SMALL: Document = {
    "openapi": "3.1.0",
    "paths": {
        "/posts": {
            "post": {
                "operationId": "create_post",
                "security": [{"ApiKey": ["post:create"]}],
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
                    {"$ref": "#/components/parameters/Kind"},
                ],
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/PostCreate"}},
                        "multipart/form-data": {"schema": {"type": "object"}},
                    },
                },
                "responses": {
                    "201": {
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Post"}},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "404": {"description": "no"},
                },
            },
        },
    },
    "webhooks": {
        "post.created": {
            "post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Post"}}}}}
        }
    },
    "components": {
        "parameters": {"Kind": {"name": "kind", "in": "query", "schema": {"type": "string", "enum": ["a", "b"]}}},
        "schemas": {
            "PostCreate": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text"],
                "properties": {
                    "text": {"type": "string", "maxLength": 100},
                    "note": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}]},
                    "tags": {"type": "array", "maxItems": 5, "items": {"type": "string"}},
                },
            },
            "Post": {
                "type": "object",
                "required": ["id", "state"],
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "state": {"type": "string", "enum": ["draft", "published"]},
                    "error": {"anyOf": [{"$ref": "#/components/schemas/Trouble"}, {"type": "null"}]},
                    "next": {"$ref": "#/components/schemas/Post"},
                },
            },
            "Trouble": {"type": "object", "properties": {"code": {"type": "string"}, "count": {"type": "integer"}}},
        },
    },
}


def _operation(new: Document) -> Document:
    found: Document = new["paths"]["/posts"]["post"]
    return found


def _shape(new: Document, name: str) -> Document:
    found: Document = new["components"]["schemas"][name]
    return found


def _field(new: Document, shape: str, name: str) -> Document:
    found: Document = _shape(new, shape)["properties"][name]
    return found


Mutation = Callable[[Document], object]
CASES: list[tuple[Mutation, str]] = [
    (lambda new: new["paths"].pop("/posts"), "removed operation: POST /posts"),
    (lambda new: _operation(new).update(operationId="make_post"), "changed operationId: POST /posts"),
    (lambda new: _operation(new).update(security=[{"ApiKey": ["post:make"]}]), "changed security: POST /posts"),
    (lambda new: _operation(new)["parameters"].pop(0), "removed parameter: POST /posts query limit"),
    (lambda new: new["components"]["parameters"]["Kind"].update(required=True), "new required input: POST /posts query kind"),
    (
        lambda new: _operation(new)["parameters"].append({"name": "X", "in": "header", "required": True, "schema": {}}),
        "new required input: POST /posts header X",
    ),
    (lambda new: _operation(new)["requestBody"].update(required=True), "new required input: POST /posts body"),
    (lambda new: _shape(new, "PostCreate")["required"].append("note"), "new required input: POST /posts body.note"),
    (lambda new: _shape(new, "PostCreate")["properties"].pop("note"), "removed input: POST /posts body.note"),
    (lambda new: _field(new, "PostCreate", "note")["anyOf"].pop(), "narrowed input type: POST /posts body.note (null)"),
    (lambda new: _field(new, "PostCreate", "text").update(type="integer"), "narrowed input type: POST /posts body.text (string)"),
    (lambda new: _field(new, "PostCreate", "text").update(enum=["a"]), "narrowed input type: POST /posts body.text (enum)"),
    (lambda new: _field(new, "PostCreate", "text").update(maxLength=99), "narrowed input limit: POST /posts body.text maxLength"),
    (lambda new: _field(new, "PostCreate", "text").update(minLength=1), "narrowed input limit: POST /posts body.text minLength"),
    (lambda new: _field(new, "PostCreate", "text").update(pattern="^a"), "narrowed input limit: POST /posts body.text pattern"),
    (
        lambda new: _field(new, "PostCreate", "tags")["items"].update(maxLength=3),
        "narrowed input limit: POST /posts body.tags[] maxLength",
    ),
    (
        lambda new: new["components"]["parameters"]["Kind"]["schema"]["enum"].remove("b"),
        "removed enum value of input: POST /posts query kind b",
    ),
    (
        lambda new: _operation(new)["requestBody"]["content"].pop("multipart/form-data"),
        "removed content type of request: POST /posts multipart/form-data",
    ),
    (lambda new: _operation(new)["responses"].pop("404"), "removed status: POST /posts 404"),
    (
        lambda new: _operation(new)["responses"]["201"]["content"].pop("text/csv"),
        "removed content type of answer: POST /posts 201 text/csv",
    ),
    (lambda new: _operation(new)["responses"]["201"].pop("headers"), "removed header of answer: POST /posts 201 ETag"),
    (lambda new: _shape(new, "Post")["properties"].pop("state"), "removed output: POST /posts 201.state"),
    (lambda new: _shape(new, "Trouble")["properties"].pop("code"), "removed output: POST /posts 201.error.code"),
    (lambda new: _shape(new, "Post")["required"].remove("id"), "output no longer always there: POST /posts 201.id"),
    (lambda new: _field(new, "Post", "id").update(type=["string", "null"]), "newly nullable output: POST /posts 201.id"),
    (lambda new: _field(new, "Post", "id").update(format="date"), "retyped output: POST /posts 201.id (format)"),
    (lambda new: _field(new, "Trouble", "count").update(type="string"), "retyped output: POST /posts 201.error.count (string)"),
    (
        lambda new: new["components"]["schemas"]["Post"]["properties"].update(
            state={"anyOf": [{"type": "string"}, {"type": "integer"}]}
        ),
        "retyped output: POST /posts 201.state (integer)",
    ),
    (lambda new: new["webhooks"].pop("post.created"), "removed event: post.created"),
    (lambda new: _shape(new, "Post")["properties"].pop("error"), "removed output: event post.created.error"),
]


@pytest.mark.parametrize(("mutate", "finding"), CASES, ids=[finding for _, finding in CASES])
def test_a_break_is_found(mutate: Mutation, finding: str) -> None:
    new = deepcopy(SMALL)
    mutate(new)
    assert finding in breaks(SMALL, new)


def test_every_rule_of_the_table_has_a_case() -> None:
    assert {finding.partition(":")[0] for _, finding in CASES} == set(RULES)


@pytest.mark.parametrize(
    "mutate",
    [
        lambda new: None,
        lambda new: new["paths"].update({"/more": {"get": {"operationId": "more", "responses": {}}}}),
        lambda new: _operation(new)["parameters"].append({"name": "x", "in": "query", "schema": {"type": "string"}}),
        lambda new: _shape(new, "PostCreate")["properties"].update(more={"type": "string"}),
        lambda new: _shape(new, "PostCreate")["required"].clear(),
        lambda new: _field(new, "PostCreate", "text").update(maxLength=200),
        lambda new: _field(new, "PostCreate", "text").update(type=["string", "null"]),
        lambda new: _shape(new, "Post")["properties"].update(more={"type": "string"}),
        lambda new: _shape(new, "Post")["required"].append("error"),
        lambda new: _field(new, "Post", "state")["enum"].append("archived"),
        lambda new: _operation(new)["responses"].update({"429": {"description": "slower"}}),
        lambda new: new["components"]["parameters"]["Kind"]["schema"]["enum"].append("c"),
        lambda new: new["webhooks"].update({"post.deleted": new["webhooks"]["post.created"]}),
        lambda new: _field(new, "Post", "error")["anyOf"].pop(),
        lambda new: _operation(new)["security"].append({"Session": ["post:create"]}),
    ],
)
def test_what_is_added_or_widened_is_no_break(mutate: Mutation) -> None:
    new = deepcopy(SMALL)
    mutate(new)
    assert breaks(SMALL, new) == []


def test_the_document_breaks_nothing_of_the_last_release_that_is_not_accepted() -> None:
    import json

    released = sorted((OPENAPI / "released").glob("*.json"), key=lambda path: tuple(map(int, path.stem.split("."))))
    accepted = accepted_in((OPENAPI / "accepted-breaks.txt").read_text())
    found = breaks(json.loads(released[-1].read_bytes()), document())
    assert [line for line in found if line not in accepted] == []
    assert accepted - set(found) == set(), "accepted, and no break any more: take the line out"


def test_the_command_names_what_is_not_accepted(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    new = deepcopy(SMALL)
    _operation(new).update(operationId="make_post")
    files = [tmp_path / name for name in ("old.json", "new.json", "accepted.txt")]
    files[0].write_text(json.dumps(SMALL))
    files[1].write_text(json.dumps(new))
    assert main([str(file) for file in files[:2]]) == 1
    assert capsys.readouterr().out == "changed operationId: POST /posts\n"
    files[2].write_text("# Renamed before anybody used it.\nchanged operationId: POST /posts # 2027-01-01\n")
    assert main([str(file) for file in files]) == 0
