"""The judges of the document: Spectral (OpenAPI, OWASP, our own rules) and Redocly find nothing, and they do look."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.api.tools import FOLDER_VARIABLE, ROOT, script

pytestmark = pytest.mark.real(FOLDER_VARIABLE)
OPENAPI = ROOT / "openapi"


def test_nobody_finds_an_error_or_a_warning() -> None:
    done = script("lint.sh", OPENAPI / "openapi.json")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "No results with a severity of 'hint' or higher found!" in said
    assert "Your API description is valid" in said
    assert "warning" not in said.lower()


def _spoil(document: dict[str, Any]) -> None:
    """Break every rule of our own, and one of each of the others."""
    paths, schemas = document["paths"], document["components"]["schemas"]
    post = paths["/v1/workspaces"]["post"]
    post["operationId"] = "createWorkspace"
    post["summary"] = ""
    post["security"] = [{"ApiKey": ["workspace:create", "workspace:read"]}]
    post["x-required-permission"] = "everything"
    post["parameters"] = [{"name": "dry", "in": "query", "schema": {"type": "boolean"}}]
    post["responses"]["201"]["headers"] = {}
    post["responses"]["404"] = {"description": "no", "content": {"application/json": {"schema": {"type": "object"}}}}
    post["responses"]["422"] = {"description": "no", "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    del paths["/v1/me"]["get"]["responses"]["429"]
    paths["/v1/Some_thing"] = paths.pop("/v1/me")
    schemas["PostList"]["properties"] = {"items": {"type": "array", "description": "All.", "maxItems": 3, "items": {}}}
    del schemas["PostRead"]["description"]
    schemas["AgencyRead"]["properties"]["fullName"] = {"type": "string"}
    document["components"]["headers"]["ETag"].pop("example")
    document["info"].pop("license")


def test_a_spoiled_document_is_found_out(tmp_path: Path) -> None:
    spoiled = deepcopy(json.loads((OPENAPI / "openapi.json").read_bytes()))
    _spoil(spoiled)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(spoiled))
    done = script("lint.sh", file)
    assert done.returncode == 1
    ours = set(re.findall(r"^  (octavo-[a-z-]+):", (OPENAPI / ".spectral.yaml").read_text(), re.MULTILINE))
    named = set(re.findall(r"[a-z]+[a-z0-9:-]+", done.stdout))
    assert ours - named == set()
    assert {"owasp:api4:2023-rate-limit-responses-429", "owasp:api4:2023-string-limit", "info-license"} <= named
