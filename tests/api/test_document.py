"""The published document: it is what the code says, and no operation stands without a permission."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from sqlmodel import SQLModel

from api.openapi_document import document, render
from core.errors import CODES
from core.settings import Settings
from tenants.permissions import Permission

COMMITTED = Path(__file__).parents[2] / "openapi" / "openapi.json"


def test_the_committed_document_is_the_codes() -> None:
    assert COMMITTED.read_bytes() == render(), "run `make openapi`"


def test_every_operation_names_exactly_one_permission() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            (scheme,) = operation["security"]
            (scope,) = scheme["ApiKey"]
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
