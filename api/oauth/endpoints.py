"""The endpoints that applications call: tokens, revocation, introspection, pushed requests. Errors have OAuth's own form.

What is answered is answered by tenants/applications/authority.py. The transaction is committed after an error too: a token that
came twice has ended its family, and that must hold.
"""

from collections import Counter
from collections.abc import Callable

import orjson
from authlib.oauth2 import OAuth2Error
from fastapi import APIRouter, Request, Response

from api.body import StrictRoute
from api.pages.people.forms import read_form
from api.rate_limits import RateLimits
from core.clock import now
from core.db import Database, raw, stamp_agency
from core.signing import sign_claims
from tenants.applications import asking
from tenants.applications.asking import PUSHED_LIVES, Refusal
from tenants.applications.authority import METHODS, Answer, Asked, Authority, served
from tenants.applications.clients import Found
from tenants.people.house import House

router = APIRouter(prefix="/oauth", include_in_schema=False, route_class=StrictRoute)
SIGNED = "application/token-introspection+jwt"
"""An introspection that proves who gave it (RFC 9701)."""
MEANINGS = {
    "invalid_request": "The request lacks something, has something twice, or has it in the wrong form.",
    "invalid_client": "The client is unknown, or did not authenticate as it must.",
    "invalid_grant": "The code or token is unknown, used, ended, or somebody else's.",
    "unauthorized_client": "The client may not come by this way.",
    "unsupported_grant_type": "There is no such grant type.",
    "invalid_scope": "A scope is unknown, or more than the client may ask for.",
    "unsupported_token_type": "There is no such type of token.",
}
"""Our own words for each code: Authlib's repeat the input."""
GUESSES = frozenset({"invalid_client", "invalid_grant"})


async def _asked(request: Request) -> Asked | None:
    """Read the form; None where something stands in it twice (RFC 6749 section 3.2)."""
    form = await read_form(request)
    twice = any(count > 1 for count in Counter(name for name, _ in form.pairs).values())
    return None if twice else Asked("POST", form.pairs, request.headers.get("authorization"))


async def _answer(request: Request, work: Callable[[Authority], Answer]) -> Answer:
    """Run one call of the protocol in a transaction of its own."""
    limits: RateLimits = request.app.state.rate_limits
    limits.let_strangers(request.scope)
    database: Database = request.app.state.database
    house: House = request.app.state.house

    def admit(found: Found) -> None:
        limits.admit_application(request.scope, found.id, proven=found.confidential)

    def guarded(server: Authority) -> Answer:
        try:
            return work(server)
        except ValueError:  # of a header or a parameter that Authlib can neither read nor repeat
            return Answer(400, {"error": "invalid_request"}, {})

    async with database.session() as session:
        answer = await served(session, house.secret, house.public_url, now(), guarded, admit)
    if isinstance(answer.body, dict) and answer.body.get("error") in GUESSES:
        limits.refuse(request.scope)
    return answer


def written(answer: Answer) -> Response:
    """Write an answer out."""
    body, headers = answer.body or {}, {}
    if body.get("error"):
        body = error_body(body["error"])
        if answer.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="octavo"'
    return Response(orjson.dumps(body), status_code=answer.status, media_type="application/json", headers=headers)


def error_body(code: str) -> dict[str, str]:
    """Write an error as RFC 6749 section 5.2 has it."""
    return {"error": code, "error_description": MEANINGS.get(code, "The request cannot be answered.")}


def _twice() -> Response:
    return written(Answer(400, {"error": "invalid_request"}, {}))


@router.post("/token")
async def token(request: Request) -> Response:
    """Give tokens for a code, for a refresh token, or for the client's own secret."""
    asked = await _asked(request)
    return _twice() if asked is None else written(await _answer(request, lambda server: server.create_token_response(asked)))


@router.post("/revoke")
async def revoke(request: Request) -> Response:
    """End a token (RFC 7009). What is unknown, or somebody else's, is answered alike."""
    asked = await _asked(request)
    if asked is None:
        return _twice()
    return written(await _answer(request, lambda server: server.create_endpoint_response("revocation", asked)))


@router.post("/introspect")
async def introspect(request: Request) -> Response:
    """Say what a token of the client's own is worth now (RFC 7662), signed for who asks for it so (RFC 9701)."""
    asked = await _asked(request)
    if asked is None:
        return _twice()
    answer = await _answer(request, lambda server: server.create_endpoint_response("introspection", asked))
    if answer.status != 200 or answer.client is None or SIGNED not in request.headers.get("accept", ""):
        return written(answer)
    house: House = request.app.state.house
    claims = {
        "iss": house.public_url,
        "aud": answer.client.client_id,
        "iat": int(now().timestamp()),
        "token_introspection": answer.body,
    }
    text = sign_claims(house.secret, now(), "token-introspection+jwt", claims)
    return Response(text, media_type=SIGNED)


@router.post("/par")
async def push(request: Request) -> Response:
    """Take an authorization request from the application itself, before a person comes with its name (RFC 9126)."""
    asked = await _asked(request)
    if asked is None or "request_uri" in asked.form:
        return _twice()

    def known(server: Authority) -> Answer:
        try:
            client = server.authenticate_client(asked, METHODS, "par")
        except OAuth2Error as error:
            return server.handle_response(error.status_code, {"error": error.error}, [])
        return Answer(200, None, {}, client.found)

    answer = await _answer(request, known)
    if answer.client is None or answer.status != 200:
        return written(answer)
    client = answer.client
    house: House = request.app.state.house
    pairs = [pair for pair in asked.payload.data.items() if pair[0] != "client_id"] + [("client_id", client.client_id)]
    database: Database = request.app.state.database
    async with database.session() as session:
        wish = await asking.look_at(session, house.secret, house.public_url, pairs, now())
        if isinstance(wish, Refusal):
            return written(Answer(400, {"error": wish.error}, {}))
        await stamp_agency(raw(session), client.agency_id)
        uri = await asking.push(session, house.secret, client, pairs, now())
    body = {"request_uri": uri, "expires_in": int(PUSHED_LIVES.total_seconds())}
    return Response(orjson.dumps(body), status_code=201, media_type="application/json")
