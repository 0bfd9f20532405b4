"""`python -m api.breaking OLD NEW [ACCEPTED]`: what of a released document a newer one breaks, by a table of rules.

A break is what makes a client fail that was right before: something it calls is gone, something it sends is refused, or
something it reads is missing or of another kind. Additions are no breaks, also new values of enums in answers: the sets are
open, and the contract says so. Each finding needs its line, word for word, in openapi/accepted-breaks.txt.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
Schema = dict[str, Any]
DEPTH_MAX = 24  # deeper than any shape of ours; here a shape that contains itself is left


class Side:
    """One document, with its references followed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations = {
            f"{method.upper()} {path}": (item, item[method])
            for path, item in document.get("paths", {}).items()
            for method in METHODS
            if method in item
        }

    def follow(self, value: Any) -> dict[str, Any]:
        """What a reference stands for; anything else is itself."""
        found: dict[str, Any] = value or {}
        while "$ref" in found:
            target: Any = self.document
            for part in found["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            found = target | {key: one for key, one in found.items() if key != "$ref"}
        return found

    def parameters(self, item: dict[str, Any], operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Name the parameters of an operation by place and name."""
        every = [self.follow(one) for one in (*item.get("parameters", ()), *operation.get("parameters", ()))]
        return {f"{one['in']} {one['name']}": one for one in every}

    def contents(self, body: Any) -> dict[str, Schema]:
        """The shapes of a body by media type."""
        return {kind: one.get("schema", {}) for kind, one in self.follow(body).get("content", {}).items()}

    def options(self, schema: Schema) -> list[Schema]:
        """The kinds of value that a schema allows, without null."""
        schema = self.follow(schema)
        inner = schema.get("anyOf") or schema.get("oneOf")
        if inner:
            return [option for one in inner for option in self.options(one)]
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return [schema | {"type": kind} for kind in kinds if kind != "null"]
        return [] if kinds == "null" else [schema]

    def nullable(self, schema: Schema) -> bool:
        """Whether null is allowed."""
        schema = self.follow(schema)
        if "null" in (schema.get("type") or ()):  # of a list, or the word itself
            return True
        return any(self.nullable(one) for word in ("anyOf", "oneOf") for one in schema.get(word, ()))


def kind_of(schema: Schema) -> str:
    """The kind of a value: its type, or what tells it."""
    if "type" in schema:
        return str(schema["type"])
    values = values_of(schema)
    if values:
        return {"str": "string", "int": "integer", "bool": "boolean"}.get(type(values[0]).__name__, "any")
    return "object" if "properties" in schema else "any"


def values_of(schema: Schema) -> list[Any] | None:
    """The closed list of values, if there is one."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


RULES: dict[str, str] = {
    "removed operation": "what was called is gone",
    "changed operationId": "the function of every generated client has another name",
    "changed security": "another scope or scheme is wanted",
    "removed parameter": "an unknown parameter is refused",
    "new required input": "what was enough is refused",
    "removed input": "an unknown field is refused",
    "narrowed input type": "a kind of value is refused",
    "narrowed input limit": "a value within the old limits is refused",
    "removed enum value of input": "a value is refused",
    "removed content type of request": "a body is refused",
    "removed status": "an answer that clients wait for does not come",
    "removed content type of answer": "an answer comes in another form",
    "removed header of answer": "a header that clients read does not come",
    "removed output": "a field that clients read is gone",
    "output no longer always there": "a field that clients rely on may be missing",
    "newly nullable output": "null comes where it could not",
    "retyped output": "a value of another kind comes",
    "removed event": "an event that clients wait for does not come",
}
"""The table: rule, and what it would do to a client that was right before. tests/api/test_breaking.py has a case for each."""
UPPER = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
LOWER = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")


def _still_open(old: list[Any] | None, new: list[Any] | None) -> bool:
    """Whether every way in that there was is there; another one beside it is no break."""
    return new in (old, []) or (bool(old) and all(one in (new or []) for one in old or []))


class Comparison:
    """Old against new; `findings` are sentences that stay the same from run to run."""

    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self.old, self.new = Side(old), Side(new)
        self.findings: list[str] = []

    def tell(self, rule: str, place: str) -> None:
        """Add a finding, once."""
        if rule not in RULES:
            raise LookupError(f"{rule} is not in the table of rules")
        line = f"{rule}: {place}"
        if line not in self.findings:
            self.findings.append(line)

    def operations(self) -> None:
        """Every operation that was there is there, named and guarded as before; then its inputs and answers."""
        for name, (item, operation) in self.old.operations.items():
            if name not in self.new.operations:
                self.tell("removed operation", name)
                continue
            other_item, other = self.new.operations[name]
            if operation.get("operationId") != other.get("operationId"):
                self.tell("changed operationId", name)
            if not _still_open(operation.get("security"), other.get("security")):
                self.tell("changed security", name)
            self.parameters(name, self.old.parameters(item, operation), self.new.parameters(other_item, other))
            self.request(name, operation.get("requestBody"), other.get("requestBody"))
            self.answers(name, operation["responses"], other["responses"])

    def parameters(self, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Parameters stay, take what they took, and none becomes required."""
        for key, one in new.items():
            if one.get("required") and not old.get(key, {}).get("required"):
                self.tell("new required input", f"{name} {key}")
        for key, one in old.items():
            if key in new:
                self.sent(f"{name} {key}", one.get("schema", {}), new[key].get("schema", {}))
            else:
                self.tell("removed parameter", f"{name} {key}")

    def request(self, name: str, old: Any, new: Any) -> None:
        """Bodies stay takeable, and none becomes required."""
        if self.new.follow(new).get("required") and not self.old.follow(old).get("required"):
            self.tell("new required input", f"{name} body")
        taken = self.new.contents(new)
        for kind, schema in self.old.contents(old).items():
            if kind not in taken:
                self.tell("removed content type of request", f"{name} {kind}")
            else:
                self.sent(f"{name} body", schema, taken[kind])

    def answers(self, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Statuses, content types and headers stay, and bodies keep their promises."""
        for status, answer in old.items():
            if status not in new:
                self.tell("removed status", f"{name} {status}")
                continue
            given = self.new.contents(new[status])
            for kind, schema in self.old.contents(answer).items():
                if kind not in given:
                    self.tell("removed content type of answer", f"{name} {status} {kind}")
                else:
                    self.received(f"{name} {status}", schema, given[kind])
            headers = self.new.follow(new[status]).get("headers", {})
            for header in self.old.follow(answer).get("headers", {}):
                if header not in headers:
                    self.tell("removed header of answer", f"{name} {status} {header}")

    def webhooks(self) -> None:
        """The events that were there are there, and their shapes keep their promises."""
        new = self.new.document.get("webhooks", {})
        for type_, item in self.old.document.get("webhooks", {}).items():
            if type_ not in new:
                self.tell("removed event", type_)
                continue
            given = self.new.contents(new[type_]["post"].get("requestBody"))
            for kind, schema in self.old.contents(item["post"].get("requestBody")).items():
                self.received(f"event {type_}", schema, given.get(kind, {}))

    def sent(self, place: str, old: Schema, new: Schema, depth: int = 0) -> None:
        """Compare what clients send: the new document must take all that the old one took."""
        if depth > DEPTH_MAX or not self.new.follow(new):
            return
        if self.old.nullable(old) and not self.new.nullable(new):
            self.tell("narrowed input type", f"{place} (null)")
        for before, after in self._paired(place, old, new, "narrowed input type"):
            self._limits(place, before, after)
            self._values_sent(place, before, after)
            self._fields_sent(place, before, after, depth)
            if "items" in before:
                self.sent(f"{place}[]", before["items"], after.get("items", {}), depth + 1)

    def _paired(self, place: str, old: Schema, new: Schema, rule: str) -> Iterator[tuple[Schema, Schema]]:
        """Each kind of value of `old` beside that of `new`; what has none is told by `rule`."""
        others = self.new.options(new)
        for before in self.old.options(old):
            kind = kind_of(before)
            fitting = [one for one in others if kind_of(one) in {kind, "any"}]
            if fitting:
                yield before, max(fitting, key=lambda one: len(before.get("properties", {}).keys() & one.get("properties", {})))
            elif not (kind == "integer" and any(kind_of(one) == "number" for one in others) and rule.startswith("narrowed")):
                self.tell(rule, f"{place} ({kind})")

    def _limits(self, place: str, old: Schema, new: Schema) -> None:
        for word in UPPER:
            if word in new and new[word] < old.get(word, float("inf")):
                self.tell("narrowed input limit", f"{place} {word}")
        for word in LOWER:
            if word in new and new[word] > old.get(word, float("-inf")) and not (new[word] == 0 and word.startswith("min")):
                self.tell("narrowed input limit", f"{place} {word}")
        for word in ("pattern", "format"):
            if kind_of(new) == "string" and word in new and new[word] != old.get(word):
                self.tell("narrowed input limit", f"{place} {word}")

    def _values_sent(self, place: str, old: Schema, new: Schema) -> None:
        allowed = values_of(new)
        if allowed is None:
            return
        if values_of(old) is None:
            self.tell("narrowed input type", f"{place} (enum)")
        for value in values_of(old) or ():
            if value not in allowed:
                self.tell("removed enum value of input", f"{place} {value}")

    def _fields_sent(self, place: str, old: Schema, new: Schema, depth: int) -> None:
        fields, others = old.get("properties", {}), new.get("properties", {})
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            self.tell("new required input", f"{place}.{name}")
        for name, field in fields.items():
            if name in others:
                self.sent(f"{place}.{name}", field, others[name], depth + 1)
            elif new.get("additionalProperties") is False:
                self.tell("removed input", f"{place}.{name}")
        if isinstance(old.get("additionalProperties"), dict) and isinstance(new.get("additionalProperties"), dict):
            self.sent(f"{place}.*", old["additionalProperties"], new["additionalProperties"], depth + 1)

    def received(self, place: str, old: Schema, new: Schema, depth: int = 0) -> None:
        """Compare what clients read: the new document must give nothing that the old one ruled out."""
        if depth > DEPTH_MAX or not self.old.follow(old):
            return
        if self.new.nullable(new) and not self.old.nullable(old):
            self.tell("newly nullable output", place)
        known = {kind_of(one) for one in self.old.options(old)}
        for kind in sorted({kind_of(one) for one in self.new.options(new)} - known):
            if "any" not in known and not (kind == "integer" and "number" in known):
                self.tell("retyped output", f"{place} ({kind})")
        for before, after in self._paired(place, old, new, "retyped output"):
            if before.get("format") != after.get("format") and "format" in before:
                self.tell("retyped output", f"{place} (format)")
            if "const" in before and after.get("const") != before["const"]:
                self.tell("retyped output", f"{place} (const)")
            self._fields_received(place, before, after, depth)
            if "items" in before:
                self.received(f"{place}[]", before["items"], after.get("items", {}), depth + 1)

    def _fields_received(self, place: str, old: Schema, new: Schema, depth: int) -> None:
        others = new.get("properties", {})
        for name, field in old.get("properties", {}).items():
            if name not in others:
                self.tell("removed output", f"{place}.{name}")
                continue
            if name in old.get("required", ()) and name not in new.get("required", ()):
                self.tell("output no longer always there", f"{place}.{name}")
            self.received(f"{place}.{name}", field, others[name], depth + 1)


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Everything of `old` that `new` breaks, as sentences."""
    comparison = Comparison(old, new)
    comparison.operations()
    comparison.webhooks()
    return comparison.findings


def accepted_in(text: str) -> set[str]:
    """The findings that a file accepts: its lines, without comments."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def main(arguments: list[str]) -> int:
    """Compare two files, say what is not accepted, and return 1 if there is any."""
    old, new = (json.loads(Path(argument).read_bytes()) for argument in arguments[:2])
    accepted = accepted_in(Path(arguments[2]).read_text()) if arguments[2:] else set()
    found = [line for line in breaks(old, new) if line not in accepted]
    sys.stdout.writelines(f"{line}\n" for line in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
