"""Forms of people's pages: reading what was filled in, and showing the page again with what was wrong at its field."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from api.pages.people.frame import page
from api.pages.people.language import Words, choose_language
from core.errors import Fault, InvalidInput, Malformed, Problem, UnsupportedMedia

Shape = TypeVar("Shape", bound=BaseModel)
FIELDS_MAX = 200
KIND = "application/x-www-form-urlencoded"


class Form:
    """What was filled in, by name."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        """All of them, in their order."""

    def get(self, name: str) -> str:
        """The value of a field; empty where there is none."""
        return next((value for field, value in self.pairs if field == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field that can be chosen more than once."""
        return [value for field, value in self.pairs if field == name]

    def values(self) -> dict[str, str]:
        """Every field with its (last) value."""
        return dict(self.pairs)

    def under(self, prefix: str) -> dict[str, str]:
        """The fields whose names begin with a prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self.pairs if name.startswith(prefix)}

    def read(self, shape: type[Shape], **more: Any) -> Shape:
        """Read the form as the shape that the API takes: the same rules hold. Raises InvalidInput with a fault for each field."""
        given = {name: value for name, value in self.pairs if name in shape.model_fields and value != ""}
        return shaped(shape, given | more)


def shaped(shape: type[Shape], given: Mapping[str, Any]) -> Shape:
    """Read what was filled in as the shape that the API takes. Raises InvalidInput with a fault for each field."""
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        places = dict.fromkeys("/".join(map(str, one["loc"])) for one in error.errors())
        faults = [Fault(f"/{place}", "validation_failed", "It is not right yet.") for place in places]
        raise InvalidInput(faults=faults) from error


async def read_form(request: Request) -> Form:
    """Read what a page's form has sent. Raises UnsupportedMedia, Malformed."""
    body = await request.body()
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != KIND:
        raise UnsupportedMedia
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise Malformed("The form cannot be read.") from error
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Malformed("The form cannot be read.")
    return Form(pairs)


def again(
    request: Request, template: str, problem: Problem, form: Form, *, locale: str | None = None, leads_to: tuple[str, ...] = (),
    scripts: bool = False, **facts: Any,
) -> Response:  # fmt: skip
    """Show a page once more, with what was refused. Texts come from the catalogue, by the page, the field and the code.

    Templates print `values` where `frame.html` has a field for what is no secret: passwords are never sent back.
    """
    words, name = Words(choose_language(request, locale)), template.removesuffix(".html")
    refused = {}
    for fault in problem.faults:
        field = next((part for part in reversed(fault.pointer.split("/")) if not part.isdecimal()), "")
        refused[field] = words.find(f"{name}.{field}_refused") or words.plain("forms.refused")
    alert = words.find(f"{name}.{problem.code}") or words.find(f"errors.{problem.code}_text")
    if alert is None:
        alert = words.plain("forms.look" if refused else "errors.other_text")
    return page(
        request, template, status=problem.status, locale=locale, leads_to=leads_to, scripts=scripts,
        **{"alert": alert, "refused": refused, "values": form.values()} | facts,
    )  # fmt: skip
