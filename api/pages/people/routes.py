"""Routes of people's pages: what is refused is told by a page, and who is not signed in is led to where one does so."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from api.body import StrictRoute
from api.pages.people.frame import SECOND_FACTOR, go, keep_language, page, to_sign_in
from api.pages.people.language import Words, choose_language
from api.problems import AWAY, database_problem
from api.signed_in import SAFE, refuse_other_sites
from core.errors import Missing, Problem, Unauthenticated
from tenants.people.sessions import SecondFactorNeeded


class PageRoute(StrictRoute):
    """A route whose refusals are pages. What changes something must come from a page of this service."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of the strict route."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                if request.method not in SAFE:
                    refuse_other_sites(request, proof=True)
                return await handler(request)
            except SecondFactorNeeded:
                return keep_language(request, go(SECOND_FACTOR))
            except Unauthenticated as problem:
                return to_sign_in(request) if type(problem) is Unauthenticated else error_page(request, problem)
            except Problem as problem:
                return error_page(request, problem)
            except RequestValidationError:
                return error_page(request, Missing())
            except AWAY as error:
                return error_page(request, database_problem(error))

        return handle


def people() -> APIRouter:
    """Make the router of one module of pages."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def error_page(request: Request, problem: Problem, *, once: bool = False) -> Response:
    """Tell a person what went wrong, in words of the catalogue for its code. `once` is as `page` has it.

    What was refused to a form stands at no address, so it is not had in another language either.
    """
    once = once or request.method not in SAFE
    words = Words(choose_language(request))
    code = problem.code if words.find(f"errors.{problem.code}") else "other"
    response = page(
        request, "error.html", status=problem.status, once=once, code=code, request_id=request.scope.get("request_id", "")
    )
    response.headers.update(problem.headers)
    return response
