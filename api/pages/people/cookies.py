"""Cookies that last for one errand: they bind what comes back from another site to the browser that left for there."""

from fastapi import Request, Response

from api.signed_in import is_plain

ERRAND_S = 600


def _name(request: Request, name: str) -> str:
    return name if is_plain(request.app.state.settings) else f"__Host-{name}"


def read_errand(request: Request, name: str) -> str | None:
    """What the browser was given for its errand, if it was."""
    return request.cookies.get(_name(request, name))


def set_errand(request: Request, response: Response, name: str, text: str) -> None:
    """Give it to the browser; an empty text takes it away. Lax, for the way back begins at another site."""
    response.set_cookie(
        _name(request, name),
        text,
        max_age=ERRAND_S if text else 0,
        path="/",
        secure=not is_plain(request.app.state.settings),
        httponly=True,
        samesite="lax",
    )
