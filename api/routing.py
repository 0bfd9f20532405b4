"""Routes: the router of every /v1 module, the form of ids in paths, and the methods that a path has.

What each operation may answer is worked out in api/document/.
"""

from fastapi import APIRouter, Request
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.routing import Match

from api.body import StrictRoute

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class IdConvertor(StringConvertor):
    """`{post_id:id}`: what has an underscore. So `posts/bulk` is not taken for a post by the methods that it lacks."""

    regex = "[^/]*_[^/]*"


register_url_convertor("id", IdConvertor())


def v1(tag: str) -> APIRouter:
    """Make the router of one module."""
    return APIRouter(prefix="/v1", tags=[tag], route_class=StrictRoute)


def allowed(request: Request) -> str:
    """Every method of the request's path, as `Allow` lists them. HEAD goes with GET, and OPTIONS is everywhere."""
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes)
    ]
    return ", ".join([*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"])
