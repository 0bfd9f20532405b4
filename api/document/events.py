"""The section `webhooks`: every type of event, in the shape that GET /v1/events shows."""

from typing import Any

from api.v1.events import EventRead
from core.wire import Output
from tenants.accounts.events import EVENTS as OF_ACCOUNTS
from tenants.operations.events import EVENTS as OF_OPERATIONS
from tenants.posts.events import EVENTS as OF_POSTS

CATALOGUE: dict[str, tuple[type[Output], str]] = OF_POSTS | OF_ACCOUNTS | OF_OPERATIONS
SUBJECTS = {"post": "pst", "publication": "pub", "account": "acc", "operation": "opr"}
TEMPLATE = "#/components/schemas/{model}"
NOTE = (
    "`GET /v1/events` gives the same body, in order and without gaps. Where no webhook endpoint is served yet, read it there. "
    "Answer with any 2xx; what you do not know, leave aside."
)


def webhooks(known: dict[str, Any]) -> dict[str, Any]:
    """Write one webhook for each type, and its shapes into `known`."""
    made = {}
    for type_, (data, meaning) in CATALOGUE.items():
        _add(known, data)
        name = _name(type_)
        known[name] = _envelope(type_, data, meaning, known)
        made[type_] = {
            "post": {
                "operationId": "on_" + type_.replace(".", "_"),
                "summary": meaning.rstrip("."),
                "description": f"{meaning} {NOTE}",
                "tags": ["Events"],
                "security": [],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": TEMPLATE.format(model=name)}}},
                },
                "responses": {"204": {"description": "Taken."}},
            }
        }
    return made


def _name(type_: str) -> str:
    return "".join(part.capitalize() for part in type_.replace(".", "_").split("_")) + "Event"


def _add(known: dict[str, Any], data: type[Output]) -> None:
    schema = data.model_json_schema(ref_template=TEMPLATE, mode="serialization")
    for name, definition in schema.pop("$defs", {}).items():
        known.setdefault(name, definition)
    known[data.__name__ + "Data"] = schema


def _envelope(type_: str, data: type[Output], meaning: str, known: dict[str, Any]) -> dict[str, Any]:
    """The shape of an event of one type: what `EventRead` says, with its type and data told exactly."""
    noun = type_.partition(".")[0]
    shape = known[EventRead.__name__]
    example_id = "01kazm3v9sfa4t2tq9gk1x7c5e"
    properties = shape["properties"] | {
        "type": {"const": type_, "description": "Which kind it is."},
        "subject": {"type": "string", "description": f"Id of the {noun}.", "examples": [f"{SUBJECTS[noun]}_{example_id}"]},
        "data": {"$ref": TEMPLATE.format(model=data.__name__ + "Data")},
    }
    return {"type": "object", "description": meaning, "required": shape["required"], "properties": properties}
