"""Limits, descriptions and examples of every shape, also of those that nobody thought about.

What a model says wins. What it leaves open gets a bound here: of inputs the validators' own, of answers a generous one that
what we store cannot pass. An example is made of the fields' own; `NoExample` names the field that has none.
"""

from collections.abc import Iterator
from typing import Any

from api.document.words import NOTHING, WORDS

TEXT = r"^[^\u0000]*$"
"""Any text without NUL, which PostgreSQL cannot store and `api/body.py` refuses."""
STRING_LENGTH_MAX = 65_536
"""No text that we take is longer (63,206, tenants/posts/schemas.py), and what networks give us is kept shorter."""
INSTANT_LENGTH_MAX = 40
"""What core/wire.py reads at most."""
ITEMS_MAX = 10_000
"""No list inside of an object comes near; long lists have pages of their own."""
KEYS_MAX = 100
"""Members of an open object; the inputs' limits are lower."""
FILE_BYTES_MAX = 20 * 1024 * 1024
INTEGER_MAX = 2**53 - 1
"""The largest integer that JavaScript reads exactly."""
INT32_MAX = 2**31 - 1
PYTHON_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict}
_PARTS = ("properties", "$defs", "patternProperties")
Schema = dict[str, Any]


class NoExample(LookupError):
    """A field has no example, and none can be made."""


def name_lists(document: dict[str, Any]) -> None:
    """Call `Page_PostRead_` what the model calls itself: `PostList`."""
    known = document["components"]["schemas"]
    titles = {name: schema["title"] for name, schema in known.items() if name.endswith("_")}
    document["components"]["schemas"] = {titles.get(name, name): schema for name, schema in known.items()}
    _refer_anew(document, {f"#/components/schemas/{name}": f"#/components/schemas/{title}" for name, title in titles.items()})


def _refer_anew(value: Any, names: dict[str, str]) -> None:
    if isinstance(value, dict):
        if value.get("$ref") in names:
            value["$ref"] = names[value["$ref"]]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            _refer_anew(one, names)


def finish(document: dict[str, Any]) -> None:
    """Bound and describe every shape, then give each component an example."""
    known = document["components"]["schemas"]
    for place in _places(document):
        bound(place)
    for name, schema in known.items():
        schema.setdefault("title", name)
        describe(schema.get("properties", {}))
        schema.setdefault("description", f"{name}.")
    for one in _parameters(document):
        schema = one["schema"]
        _leave_null_out(schema)
        schema.pop("title", None)
        own = schema.pop("description", None)
        if own:
            one.setdefault("description", own)
        _say(one, schema, one["name"])
    for schema in known.values():
        if "examples" not in schema:
            schema["examples"] = [example_of(schema, known)]


def _leave_null_out(schema: Schema) -> None:
    """A parameter that is not given is absent, and never null."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        del schema["anyOf"]
        schema |= options[0]


def describe(properties: dict[str, Schema]) -> None:
    """Give the fields whose meaning is the same everywhere their words."""
    for name, field in properties.items():
        field.pop("title", None)
        _say(field, field, name)


def _say(place: Schema, schema: Schema, name: str) -> None:
    """Describe `place`, whose schema may be another object, and give it an example of its own if it has none."""
    description, example = WORDS.get(name, ("", NOTHING))
    if description:
        place.setdefault("description", description)
    if example is None:
        if "examples" not in schema and any(one.get("type") == "null" for one in schema.get("anyOf", ())):
            schema["examples"] = [None]
    elif example is not NOTHING and not _has_example(schema) and type(example) in _types(schema):
        schema["examples"] = [example]


def _types(schema: Schema) -> set[type]:
    """The types of Python that an example of this schema can have."""
    own = {PYTHON_TYPES[schema["type"]]} if schema.get("type") in PYTHON_TYPES else set()
    return own.union(*(_types(one) for word in ("anyOf", "oneOf") for one in schema.get(word, ())))


def _has_example(schema: Schema) -> bool:
    return any(word in schema for word in ("examples", "enum", "const", "$ref", "properties")) or any(
        _has_example(one) for word in ("anyOf", "oneOf", "allOf") for one in schema.get(word, ())
    )


def bound(schema: Schema) -> None:
    """Give a schema, and all inside of it, the limits that it does not have."""
    kind = schema.get("type")
    if kind == "string":
        _bound_string(schema)
    elif kind == "integer":
        small = INT32_MAX if schema.get("maximum", INTEGER_MAX) <= INT32_MAX else 0
        schema.setdefault("format", "int32" if small else "int64")
        schema.setdefault("minimum", 0)
        schema.setdefault("maximum", INTEGER_MAX)
    elif kind == "array":
        schema.setdefault("maxItems", ITEMS_MAX)
    elif kind == "object" and schema.get("additionalProperties"):
        schema.setdefault("maxProperties", KEYS_MAX)
        schema.setdefault("propertyNames", {}).setdefault("type", "string")
    for inner in _inside(schema):
        bound(inner)


def _bound_string(schema: Schema) -> None:
    if "enum" in schema or "const" in schema:
        return
    if "contentMediaType" in schema:
        schema.setdefault("format", "binary")
        schema.setdefault("maxLength", FILE_BYTES_MAX)
    elif schema.get("format") == "date-time":
        schema.setdefault("maxLength", INSTANT_LENGTH_MAX)
    else:
        if schema.get("format", "password") == "password":
            schema.setdefault("pattern", TEXT)
        schema.setdefault("maxLength", STRING_LENGTH_MAX)


def _inside(schema: Schema) -> Iterator[Schema]:
    for part in _PARTS:
        yield from schema.get(part, {}).values()
    for part in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(part, ())
    for part in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(part), dict):
            yield schema[part]


def _places(document: dict[str, Any]) -> Iterator[Schema]:
    yield from document["components"]["schemas"].values()
    yield from (one["schema"] for one in _parameters(document))
    for item in document["paths"].values():
        for operation in item.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                yield from (content["schema"] for content in body.get("content", {}).values() if "schema" in content)


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        for operation in item.values():
            yield from (one for one in operation.get("parameters", ()) if "schema" in one)


def example_of(schema: Schema, known: dict[str, Schema], place: str = "") -> Any:
    """Make an example of a schema from its own words. Raises NoExample with the place that has none."""
    for words in ("examples", "enum"):
        if schema.get(words):
            return schema[words][0]
    for word in ("example", "const"):
        if word in schema:
            return schema[word]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example_of(known[name], known, name)
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            options = [one for one in schema[word] if one.get("type") != "null"]
            return example_of(options[0], known, place) if options else None
    return _example_by_type(schema, known, place)


def _example_by_type(schema: Schema, known: dict[str, Schema], place: str) -> Any:
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: example_of(field, known, f"{place}.{name}") for name, field in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema["items"], known, place)]
    if kind == "null":
        return None
    if kind in {"boolean", "integer", "number"} and "default" in schema:
        return schema["default"]
    if kind == "boolean":
        return True
    raise NoExample(place or str(schema))
