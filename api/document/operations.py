"""One operation of the document: what it may answer, with which headers, and which headers it takes."""

from collections.abc import Iterator
from typing import Any

from api.document import schemas
from api.document.headers import EVERY, parameter, refer
from api.document.refusals import REFUSALS, refer_to
from tenants.permissions import DELEGABLE

ALWAYS = (400, 401, 403, 429, 500, 503)
WITH_BODY = (408, 413, 415, 422)
WITH_IDEMPOTENCY = (409, 422)
OURS = frozenset({"idempotency-key", "if-match", "if-none-match"})
"""Headers of requests that the components describe."""
MEANINGS = {200: "Done.", 201: "Made.", 202: "Taken; it is under way.", 204: "Done; there is nothing to show."}
Operation = dict[str, Any]


def finish(operation: Operation, components: dict[str, Any]) -> None:
    """Trim the refusals to those that can occur, and add every header."""
    taken = {one["name"].lower(): one for one in operation.get("parameters", ()) if one["in"] == "header"}
    idempotent, conditional = "idempotency-key" in taken, taken.get("if-match")
    required = bool(conditional and conditional["schema"].get("x-required"))
    download = "304" in operation["responses"]
    _take_headers(operation, idempotent=idempotent, conditional=bool(conditional), required=required, download=download)
    answers = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
    for status, answer in answers.items():
        _give_headers(operation, int(status), answer, components["schemas"], idempotent=idempotent, download=download)
    declared = {int(status) for status in operation["responses"] if int(status) >= 400} - {422}
    able = set(ALWAYS) | declared
    able |= set(WITH_BODY) if "requestBody" in operation else set()
    able |= set(WITH_IDEMPOTENCY) if idempotent else set()
    able |= {404} if _takes(operation, "path") else set()
    able |= {422} if _takes(operation, "query") else set()  # what is no Unicode, or cannot be stored
    able |= {412} if conditional else set()
    able |= {428} if required else set()
    operation["responses"] = answers | {str(status): refer_to(status) for status in sorted(able) if status in REFUSALS}
    scopes = [scope for one in operation.get("security", ()) for scope in next(iter(one.values()))]
    if scopes:
        operation["x-required-permission"] = scopes[0]
        operation["security"].append({"Session": [scopes[0]]})  # a dependency of its own would be solved in each request
        if scopes[0] in DELEGABLE:
            operation["security"].append({"OAuth2": [scopes[0]]})
    operation.setdefault("security", [])


def exemplify(operation: Operation, known: dict[str, Any]) -> None:
    """Give each body an example, made of those of its fields."""
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for kind, content in (pair for body in bodies for pair in body.get("content", {}).items()):
        if not {"example", "examples"} & content.keys() and "json" in kind:
            content["example"] = schemas.example_of(content["schema"], known)
    for one in operation.get("parameters", ()):
        if "schema" in one and not {"example", "examples"} & one.keys():
            one["example"] = schemas.example_of(one["schema"], known)


def _takes(operation: Operation, place: str) -> bool:
    return any(one.get("in") == place for one in operation.get("parameters", ()))


def _take_headers(operation: Operation, *, idempotent: bool, conditional: bool, required: bool, download: bool) -> None:
    kept = [one for one in operation.get("parameters", ()) if one["in"] != "header" or one["name"].lower() not in OURS]
    if idempotent:
        kept.append(parameter("IdempotencyKey"))
    if conditional:
        kept.append(parameter("IfMatchRequired" if required else "IfMatch"))
    if download:
        kept.append(parameter("IfNoneMatch"))
    if kept:
        operation["parameters"] = kept


def _give_headers(
    operation: Operation, status: int, answer: dict[str, Any], known: dict[str, Any], *, idempotent: bool, download: bool
) -> None:
    names = list(EVERY)
    shown = _properties(answer, known)
    if "version" in shown or download:
        names.append("ETag")
    if status == 201:
        names.append("Location")
    if "next_cursor" in shown and any(one.get("name") == "cursor" for one in operation.get("parameters", ())):
        names.append("Link")
    if idempotent:
        names.append("Idempotent-Replayed")
    if operation.get("deprecated"):
        names += [name for name in ("Deprecation", "Sunset", "Link") if name not in names]
    answer["headers"] = refer(*names) | answer.get("headers", {})
    if answer["description"] == "Successful Response":
        answer["description"] = MEANINGS.get(status, "Done.")


def _properties(answer: dict[str, Any], known: dict[str, Any]) -> set[str]:
    return {name for content in answer.get("content", {}).values() for name in _names(content.get("schema", {}), known)}


def _names(schema: dict[str, Any], known: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _names(known[schema["$ref"].rpartition("/")[2]], known)
    yield from schema.get("properties", {})
