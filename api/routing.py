"""The router of every /v1 module: strict bodies, and the errors that every route may answer."""

from typing import Any

from fastapi import APIRouter

from api.body import StrictRoute
from api.problems import ProblemRead

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemRead, "description": description, "content": {"application/problem+json": {}}}
    for status, description in (
        (400, "The request cannot be read"),
        (401, "No valid key"),
        (403, "The key may not do this"),
        (404, "Not there, or not yours"),
        (409, "The state does not allow it"),
        (413, "Too large"),
        (415, "Not a supported content type"),
        (422, "The input breaks rules"),
        (503, "Try again in a moment"),
    )
}


def v1(tag: str) -> APIRouter:
    """Make the router of one module."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=StrictRoute, responses=ERRORS)
