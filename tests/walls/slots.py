"""Every place of the document where an id, a cursor or a name of the caller's can stand, and requests made from the document."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]
Path = tuple[str, ...]
ID = re.compile(r"^\^([a-z]{3})_\[0-7\]")
"""How core/wire.py writes the pattern of an id."""
OWN_BODIES: dict[str, Any] = {
    "upload_media": {"url": "http://127.0.0.1:9/a.png"},
    "import_posts": "text,account_ids\nx,{acc}\n",
    "schedule_post": {"schedule": "now"},
    "transfer_agency": {"member_id": "mem_" + "0" * 26},
}
"""Bodies that are not made of the document: an address that nobody serves, a sheet, a time that does not pass, nobody."""
IN_PERSON = frozenset({
    "close_agency", "keep_agency", "transfer_agency", "create_identity_provider", "update_identity_provider",
    "delete_identity_provider",
})  # fmt: skip
"""What people do in person, and no key: tests/people."""


@dataclass(frozen=True)
class Slot:
    """One place: `path`, `query`, `body`, `cursor` or `header`; its name there; the prefix of the ids that belong there."""

    place: str
    name: Path
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.place} {'.'.join(self.name)}"


@dataclass(frozen=True)
class Operation:
    """One operation of the document."""

    id: str
    method: str
    path: str
    permission: str
    kind: str | None
    schema: Schema = field(repr=False, hash=False, compare=False)
    document: Schema = field(repr=False, hash=False, compare=False)
    slots: tuple[Slot, ...] = ()

    def of(self, place: str) -> list[Slot]:
        """Its slots in one place."""
        return [slot for slot in self.slots if slot.place == place]

    def fill(self, ids: dict[str, str], others: dict[str, str] | None = None) -> str:
        """The path, of ids by prefix; `others` wins, by the name of its slot."""
        path = self.path.replace("{name}", "sandbox")
        for slot in self.slots:
            if slot.place == "path":
                path = path.replace(f"{{{slot.name[0]}}}", (others or {}).get(slot.name[0], ids[slot.prefix]))
        return path

    def body(self, ids: dict[str, str], slot: Slot | None = None, id: str = "") -> Any:
        """The smallest body that means something, of `ids` by prefix, with `id` in one slot."""
        if self.kind is None:
            return None
        own = OWN_BODIES.get(self.id)
        if isinstance(own, str):
            return own.replace("{acc}", ids["acc"])
        made = own or sample(self.schema, self.document, ids)
        return made if slot is None else put(made, self.schema, self.document, slot.name, id, ids)


def operations(document: Schema, *, own: bool = False) -> list[Operation]:
    """Read every operation of an agency's things, with its slots; `own`: those that no permission opens, a person's own."""
    found = []
    for path, item in document["paths"].items():
        for method, raw in item.items():
            parameters = [resolve(one, document) for one in raw.get("parameters", ())]
            content = raw.get("requestBody", {}).get("content", {})
            kind = next((one for one in ("application/json", "text/csv") if one in content), None)
            schema = content[kind]["schema"] if kind else {}
            slots = [slot for one in parameters for slot in _of_parameter(one)]
            slots += [Slot("body", name, prefix) for name, prefix in ids_in(schema, document)]
            if own is ("x-required-permission" in raw):
                continue  # a person's own are tried in tests/people/test_refused_people.py
            permission = raw.get("x-required-permission", "")
            found.append(Operation(raw["operationId"], method.upper(), path, permission, kind, schema, document, tuple(slots)))
    return found


def _of_parameter(one: Schema) -> Iterator[Slot]:
    match = ID.match(one["schema"].get("pattern", ""))
    if match:
        yield Slot(one["in"], (one["name"],), match[1])
    elif one["name"] == "cursor":
        yield Slot("cursor", ("cursor",))
    elif one["in"] == "header" and one["name"] in {"Idempotency-Key", "If-Match"}:
        yield Slot("header", (one["name"],))


def resolve(schema: Schema, document: Schema) -> Schema:
    """Follow a reference into the components."""
    while "$ref" in schema:
        _, _, kind, name = schema["$ref"].split("/")
        schema = document["components"][kind][name]
    return schema


def options(schema: Schema, document: Schema) -> list[Schema]:
    """The schemas that a value may follow, without null."""
    schema = resolve(schema, document)
    several = schema.get("anyOf") or schema.get("oneOf")
    if several is None:
        return [] if schema.get("type") == "null" else [schema]
    return [one for each in several for one in options(each, document)]


def ids_in(schema: Schema, document: Schema, name: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every place of a body where an id can stand, with its prefix. `[]` is an item of a list."""
    for one in options(schema, document):
        match = ID.match(one.get("pattern", ""))
        if match:
            yield name, match[1]
        if "items" in one:
            yield from ids_in(one["items"], document, (*name, "[]"))
        for field_name, inner in one.get("properties", {}).items():
            yield from ids_in(inner, document, (*name, field_name))


def sample(schema: Schema, document: Schema, ids: dict[str, str]) -> Any:
    """The smallest value of a schema: what is required, or of a merge patch the texts; ids of the caller's own."""
    one = options(schema, document)[0]
    match = ID.match(one.get("pattern", ""))
    if match:
        return ids[match[1]]
    if "enum" in one or "const" in one:
        return one.get("const") or one["enum"][0]
    if "properties" in one:
        texts = [name for name in ("name", "text", "alt_text") if name in one["properties"]]
        return {name: sample(one["properties"][name], document, ids) for name in one.get("required") or texts}
    if "items" in one:
        return [sample(one["items"], document, ids) for _ in range(one.get("minItems", 0))]
    return one["examples"][0] if one.get("examples") else "x"


def put(value: Any, schema: Schema, document: Schema, name: Path, id: str, ids: dict[str, str]) -> Any:
    """Copy `value` with `id` at `name`; what is missing on the way is made."""
    if not name:
        return id
    step, rest = name[0], name[1:]
    if step == "[]":
        one = next(each for each in options(schema, document) if "items" in each)
        first = value[0] if value else sample(one["items"], document, ids)
        return [put(first, one["items"], document, rest, id, ids)]
    one = next(each for each in options(schema, document) if step in each.get("properties", {}))
    made = dict(value) if isinstance(value, dict) else sample(one, document, ids)
    return made | {step: put(made.get(step), one["properties"][step], document, rest, id, ids)}
