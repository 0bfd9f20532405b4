"""The published document: it is what the code says, and no operation stands without a permission."""

import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from sqlmodel import SQLModel

from api.document.build import finish
from api.document.events import CATALOGUE
from api.document.refusals import REFUSALS
from api.openapi_document import document, render
from api.v1.events import EventRead
from core.errors import CODES, Problem
from core.settings import Settings
from tenants.permissions import DELEGABLE, Permission
from tenants.posts.delivery import SILENT

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "openapi" / "openapi.json"


def test_the_committed_document_is_the_codes() -> None:
    assert COMMITTED.read_bytes() == render(), "run `make openapi`"


OWN = {
    ("post", "/v1/sessions"): [],
    ("get", "/v1/sessions"): [{"Session": []}],
    ("delete", "/v1/sessions/current"): [{"Session": []}],
    ("delete", "/v1/sessions/{session_id}"): [{"Session": []}],
    ("put", "/v1/me/password"): [{"Session": []}],
    ("post", "/v1/sessions/second-factor"): [{"Session": []}],
    ("post", "/v1/sessions/passkey"): [],
    ("post", "/v1/sessions/passkey-options"): [],
    ("post", "/v1/sessions/current/reauthentication"): [{"Session": []}],
    ("get", "/v1/me/second-factors"): [{"Session": []}],
    ("post", "/v1/me/totp"): [{"Session": []}],
    ("post", "/v1/me/totp/confirm"): [{"Session": []}],
    ("delete", "/v1/me/totp"): [{"Session": []}],
    ("post", "/v1/me/recovery-codes"): [{"Session": []}],
    ("post", "/v1/me/passkeys/options"): [{"Session": []}],
    ("post", "/v1/me/passkeys"): [{"Session": []}],
    ("delete", "/v1/me/passkeys/{passkey_id}"): [{"Session": []}],
    ("post", "/v1/email-verifications"): [{"Session": []}],
    ("post", "/v1/email-verifications/confirm"): [],
    ("post", "/v1/password-resets"): [],
    ("post", "/v1/password-resets/confirm"): [],
    ("post", "/v1/invitations/look"): [],
    ("post", "/v1/invitations/accept"): [{"Session": []}],
    ("post", "/v1/invitations/join"): [],
    ("post", "/v1/sign-ons"): [],
    ("post", "/v1/shared"): [],
    ("post", "/v1/shared/media"): [],
}
"""What a person does for itself, in no agency's name, or by a share link, and how it shows who it is."""


def test_every_operation_names_exactly_one_permission_for_keys_and_for_people_alike() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if (method, path) in OWN:
                assert operation["security"] == OWN[method, path]
                assert "x-required-permission" not in operation
                continue
            (scope,) = operation["security"][0]["ApiKey"]
            applications = [{"OAuth2": [scope]}] if scope in DELEGABLE else []
            assert operation["security"] == [{"ApiKey": [scope]}, {"Session": [scope]}, *applications], (method, path)
            assert operation["x-required-permission"] == scope
            assert scope in set(Permission), (method, path)


def test_operation_ids_are_readable_and_unique() -> None:
    ids = [operation["operationId"] for operations in document()["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))
    assert all(id.islower() and id.isidentifier() for id in ids)


def test_no_table_is_a_schema_of_the_document() -> None:
    tables = {mapper.class_.__name__ for mapper in SQLModel._sa_registry.mappers}
    assert tables & set(document()["components"]["schemas"]) == set()


def test_no_validation_error_of_the_framework_is_in_the_document() -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(document()["components"]["schemas"])


async def test_every_code_that_is_raised_is_in_the_registry(app: FastAPI) -> None:
    import ast

    root = Path(__file__).parents[2]
    for room in ("api", "tenants", "core", "workers"):
        for file in (root / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    for keyword in node.keywords:
                        if (
                            keyword.arg == "code"
                            and isinstance(keyword.value, ast.Constant)
                            and isinstance(keyword.value.value, str)
                        ):
                            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                            if name in {"Malformed", "Conflict", "InvalidInput", "Unprocessable", "Missing", "Problem", "TooLarge"}:
                                assert keyword.value.value in CODES, (file, keyword.value.value)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"secret": "x" * 40},
        {"secret": "x" * 40, "encryption_keys": "k1:" + "11" * 32},
        {"secret": "short", "encryption_keys": "k1:" + "11" * 32, "allowed_hosts": "a.example"},
        {"secret": "x" * 40, "encryption_keys": "k1:" + "11" * 32, "allowed_hosts": "a.example", "egress_allow_loopback": True},
    ],
)
def test_production_refuses_development_values(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="production refuses"):
        Settings(environment="production", **bad)  # type: ignore[arg-type]  # deliberately partial


def test_every_code_stands_under_a_status_and_every_status_is_that_of_its_codes() -> None:
    listed = {code for refusal in REFUSALS.values() for code in refusal.codes}
    assert listed == set(CODES), "api/document/refusals.py lists every code under its status"
    kinds = [Problem]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        assert kind.code in REFUSALS[kind.status].codes, kind


def _emitted() -> set[str]:
    """Every type of event that stands in the code, literally or as a state of a publication."""
    found = set()
    for file in (ROOT / "tenants").rglob("*.py"):
        if file.name == "events.py":
            continue
        text = file.read_text()
        found |= set(re.findall(r"['\"]((?:post|account|publication|operation)\.[a-z_]+)['\"]", text))
        found |= {f"publication.{state}" for state in re.findall(r"(?:_emit\(|_end\(row, )\"([a-z_]+)\"", text)}
        found |= {f"account.{state}" for state in re.findall(r"_shift\(.*\(\"[a-z_]+\", \"([a-z_]+)\"\)", text)}
    return found - SILENT


def test_every_event_is_in_the_catalogue() -> None:
    published = {"publication.published"}  # the one state that its handler names by a variable
    assert _emitted() | published == set(CATALOGUE)
    assert set(document()["webhooks"]) == set(CATALOGUE)


def test_every_example_fits_its_schema() -> None:
    whole = document()
    for name, schema in whole["components"]["schemas"].items():
        for example in schema["examples"]:
            Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": whole["components"]}).validate(example)
    for response in whole["components"]["responses"].values():
        for shown in response["content"]["application/problem+json"]["examples"].values():
            shape = {"$ref": "#/components/schemas/Problem", "components": whole["components"]}
            Draft202012Validator(shape).validate(shown["value"])


def test_writes_take_a_key_and_conditions_are_told() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            taken = {one.get("$ref", "").rpartition("/")[2] for one in operation.get("parameters", ())}
            writes = method != "get" and not path.endswith("/validate") and (method, path) not in OWN
            assert ("IdempotencyKey" in taken) == writes, (method, path)
            statuses = set(operation["responses"])
            assert ("412" in statuses) == bool(taken & {"IfMatch", "IfMatchRequired"}), (method, path)
            assert ("428" in statuses) == ("IfMatchRequired" in taken), (method, path)
            assert {"400", "401", "403", "429", "500", "503"} <= statuses


def test_what_is_deprecated_says_so_in_its_headers() -> None:
    app = FastAPI()
    app.state.settings = Settings()

    @app.get("/v1/old", deprecated=True, summary="Old", operation_id="get_old", tags=["Old"])
    def old() -> dict[str, str]:
        """Return what is old."""
        return {}

    app.openapi_tags = []
    raw = app.openapi() | {"servers": []}
    raw["components"] = {"schemas": {"EventRead": EventRead.model_json_schema()}, "securitySchemes": {"ApiKey": {}, "Session": {}}}
    built = finish(raw, public_url="https://api.octavo.example")
    assert {"Deprecation", "Sunset", "Link"} <= set(built["paths"]["/v1/old"]["get"]["responses"]["200"]["headers"])
    assert {"Deprecation", "Sunset"} <= set(built["components"]["headers"])
    assert not {"Deprecation", "Sunset"} & set(document()["components"]["headers"])


async def test_the_headers_that_the_document_promises_are_there(client: httpx2.AsyncClient) -> None:
    body = {"name": "Corner Bakery", "time_zone": "Europe/Berlin"}
    made = await client.post("/v1/workspaces", json=body, headers={"Idempotency-Key": "w1"})
    again = await client.post("/v1/workspaces", json=body, headers={"Idempotency-Key": "w1"})
    assert (made.status_code, again.status_code) == (201, 201)
    assert {"request-id", "location", "etag"} <= set(made.headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    await client.post("/v1/workspaces", json=body)
    assert 'rel="next"' in (await client.get("/v1/workspaces?limit=1")).headers["Link"]
    address = made.headers["Location"]
    stale = await client.patch(address, json={"name": "B"}, headers={"If-Match": '"7"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    odd = await client.patch(address, json={"name": "B"}, headers={"If-Match": "seven"})
    assert (odd.status_code, odd.json()["code"]) == (400, "invalid_if_match")
