"""Errands at another site: the cookie that binds what comes back to the browser that left, and what the answer says."""

from datetime import timedelta

from fastapi import Request, Response

from api.signed_in import give_cookie, own_name

ERRAND = timedelta(minutes=10)
CODE_LENGTH_MAX = 4_096
ISSUER_LENGTH_MAX = 512


def read_errand(request: Request, name: str) -> str | None:
    """What the browser was given for its errand, if it was."""
    return request.cookies.get(own_name(request.app.state.settings, name))


def set_errand(request: Request, response: Response, name: str, text: str) -> None:
    """Give it to the browser; an empty text takes it away. Lax, for the way back begins at another site."""
    give_cookie(response, request.app.state.settings, name, text, ERRAND)


def read_parameter(request: Request, name: str, length_max: int) -> str | None:
    """One query parameter of the answer; one that is given twice, or is too long, or cannot be stored, counts as none."""
    values = request.query_params.getlist(name)
    plain = len(values) == 1 and len(values[0]) <= length_max and values[0].isprintable()
    return values[0] if plain else None
