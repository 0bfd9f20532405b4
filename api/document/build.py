"""The document in the making: what FastAPI collected, through every step to its published form."""

from threading import Lock
from typing import Any

from fastapi import FastAPI

from api.document import about, events, headers, operations, refusals, schemas

FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
METHODS = ("get", "post", "patch", "put", "delete")
Document = dict[str, Any]


def install(app: FastAPI) -> None:
    """Let `app.openapi()` give the finished document, built once."""
    collect = app.openapi
    built: list[Document] = []
    building = Lock()  # pages ask for it from threads, and finishing it twice would spoil it

    def openapi() -> Document:
        with building:
            if not built:
                built.append(finish(collect(), public_url=app.state.settings.public_url))
        return built[0]

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def finish(document: Document, *, public_url: str) -> Document:
    """Bring the framework's document to its published form."""
    schemas.name_lists(document)
    components = document["components"]
    for name in FRAMEWORK_SCHEMAS:
        components["schemas"].pop(name, None)
    components["schemas"] |= refusals.problem_schemas(public_url)
    document["webhooks"] = events.webhooks(components["schemas"])
    components["headers"] = headers.COMPONENTS
    components["parameters"] = headers.PARAMETERS
    components["responses"] = refusals.responses(public_url)
    for operation in operations_of(document):
        operations.finish(operation, components)
    schemas.finish(document)
    for operation in operations_of(document):
        operations.exemplify(operation, components["schemas"])
    headers.drop_unused(document)
    about.finish(document, public_url)
    components["schemas"] = dict(sorted(components["schemas"].items()))
    order = ("openapi", "info", "servers", "tags", "security", "paths", "webhooks", "components")
    return {key: document[key] for key in order if key in document}


def operations_of(document: Document) -> list[dict[str, Any]]:
    """Every operation under `paths`."""
    return [item[method] for item in document["paths"].values() for method in METHODS if method in item]
