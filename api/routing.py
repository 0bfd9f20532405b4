"""The router of every /v1 module: strict bodies. What each operation may answer is worked out in api/document/."""

from fastapi import APIRouter

from api.body import StrictRoute


def v1(tag: str) -> APIRouter:
    """Make the router of one module."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=StrictRoute)
