"""What the servers of the AT Protocol answer, and what it proves: errors, sessions, waiting times. Pure.

Names and statuses are from the lexicons and from @atproto/pds 0.5.35, read and run 2026-11. Two things are unlike
elsewhere: an access token that ran out is a 400, and the name in the body says more than the status.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from core import clock
from networks.base import (
    Credentials,
    Duplicate,
    Expired,
    Forbidden,
    NetworkError,
    RateLimited,
    Refused,
    Rejected,
    Unauthorized,
    Unavailable,
    Uncertain,
)
from networks.client import RETRY_AFTER_LONGEST, Answer, retry_after

ACCESS_LIFE = timedelta(hours=2)
"""Life of an access token, for when the token itself does not say."""
LATEST_EPOCH_S = 253_402_300_799
"""The end of the year 9999: what lies later is no time."""
MESSAGE_LENGTH_MAX = 300
DID_LENGTH_MAX, HANDLE_LENGTH_MAX = 2_048, 253
"""As atproto.com/specs/did and atproto.com/specs/handle have them (read 2026-11)."""
TOKEN_LENGTH_MAX = 8_192
"""Ours: those of the reference server have a few hundred characters."""

Step = Literal["connect", "refresh", "prepare", "publish", "read", "delete"]

PROOFS: dict[tuple[int, str], type[Refused]] = {
    (400, "ExpiredToken"): Expired,
    (400, "InvalidToken"): Unauthorized,
    (401, "InvalidToken"): Unauthorized,
    (401, "AuthenticationRequired"): Unauthorized,
    (401, "AuthMissing"): Unauthorized,
    (401, "AuthFactorTokenRequired"): Unauthorized,
    (401, "AccountTakedown"): Unauthorized,
    (401, "AccountDeactivated"): Unauthorized,
    (400, "AccountTakedown"): Unauthorized,
    (400, "AccountDeactivated"): Unauthorized,
    (403, "AccountNotFound"): Unauthorized,
    (403, "ScopeMissingError"): Forbidden,
    (400, "InvalidSwap"): Duplicate,
    (400, "InvalidRequest"): Rejected,
    (400, "HandleNotFound"): Rejected,
    (400, "BlobNotFound"): Rejected,
    (400, "InvalidMimeType"): Rejected,
    (400, "BlobTooLarge"): Rejected,
    (413, "PayloadTooLarge"): Rejected,
}
"""Answers that prove that nothing was done. What is not here, and no 429, proves nothing."""
REFRESH_PROOFS: dict[tuple[int, str], type[Refused]] = {
    **{about: kind for about, kind in PROOFS.items() if kind is Unauthorized},
    (400, "ExpiredToken"): Unauthorized,
}
"""For a refresh: only what says that the authorisation is dead. A refresh token has nothing that could renew it."""
DETAILS: dict[type[NetworkError], str] = {
    Expired: "The access token for Bluesky ran out.",
    Unauthorized: "Bluesky does not take the authorisation.",
    Forbidden: "Bluesky does not allow this with the app password that was given.",
    Duplicate: "Bluesky has another record under this post's key.",
    Rejected: "Bluesky refused the content.",
}


def session_credentials(session: Mapping[str, Any], service_url: str) -> Credentials:
    """Read the answer of createSession or refreshSession. Raises Uncertain when a part is missing."""
    values = {"service_url": service_url}
    for name, theirs, length_max in (
        ("access_token", "accessJwt", TOKEN_LENGTH_MAX),
        ("refresh_token", "refreshJwt", TOKEN_LENGTH_MAX),
        ("did", "did", DID_LENGTH_MAX),
        ("handle", "handle", HANDLE_LENGTH_MAX),
    ):
        value = session.get(theirs)
        if not isinstance(value, str) or not value or len(value) > length_max or not value.isprintable():
            raise Uncertain(f"Bluesky's session has no `{theirs}` that can be used.")
        values[name] = value
    claims = _claims(values["access_token"])
    end, scope = claims.get("exp"), claims.get("scope")
    known = isinstance(end, int) and 0 < end < LATEST_EPOCH_S
    expires_at = datetime.fromtimestamp(int(end or 0), UTC) if known else clock.now() + ACCESS_LIFE
    return Credentials(
        values,
        expires_at,
        (scope,) if isinstance(scope, str) and scope.isprintable() else (),
    )


def _claims(token: str) -> dict[str, Any]:
    """Read a token's claims without trusting them: they only say when to refresh."""
    try:
        part = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def own_server(session: Mapping[str, Any]) -> str | None:
    """Find the account's own server in the DID document that comes with a session."""
    document = session.get("didDoc")
    services = document.get("service") if isinstance(document, dict) else None
    for one in services if isinstance(services, list) else []:
        if isinstance(one, dict) and one.get("id") in ["#atproto_pds", f"{session.get('did')}#atproto_pds"]:
            endpoint = one.get("serviceEndpoint")
            return endpoint.rstrip("/") if isinstance(endpoint, str) else None
    return None


def read_answer(step: Step, answer: Answer) -> dict[str, Any]:
    """Read a good answer as an object; raise what any other one proves, given the step that it answers."""
    if answer.status != 200:
        raise _failure(step, answer)
    body = answer.json()
    if not isinstance(body, dict):
        raise Uncertain("Bluesky gave an answer that cannot be read.", http_status=answer.status)
    return body


def _failure(step: Step, answer: Answer) -> NetworkError:
    name = error_name(answer)
    about: dict[str, Any] = {"raw_code": name, "http_status": answer.status}
    if answer.status == 429:
        return RateLimited("Bluesky asks to wait.", until=_until(answer.headers), **about)
    kind = (REFRESH_PROOFS if step == "refresh" else PROOFS).get((answer.status, name or ""))
    if kind is not None:
        return kind(_message(answer) or DETAILS[kind], **about)
    if answer.status == 413 and step != "refresh":
        return Rejected(DETAILS[Rejected], **about)
    if answer.status >= 500 and step not in {"publish", "refresh"}:
        return Unavailable(f"Bluesky is down: it answered {answer.status}.", **about)
    return Uncertain(f"Bluesky answered {answer.status}.", **about)


def error_name(answer: Answer) -> str | None:
    """Read the name that stands in the body of an error."""
    name = _error_body(answer).get("error")
    return name if isinstance(name, str) and len(name) <= 64 and name.isprintable() else None


def _message(answer: Answer) -> str | None:
    message = _error_body(answer).get("message")
    return message[:MESSAGE_LENGTH_MAX] if isinstance(message, str) and message.isprintable() else None


def _error_body(answer: Answer) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _until(headers: Mapping[str, str]) -> datetime | None:
    """Read when calls are taken again: `Retry-After`, or else `RateLimit-Reset`, which is in epoch seconds here."""
    now = clock.now()
    reset = headers.get("RateLimit-Reset", "")
    if "Retry-After" in headers or not (reset.isascii() and reset.isdigit() and len(reset) <= 11):
        return retry_after(headers, now)
    return min(max(datetime.fromtimestamp(int(reset), UTC), now), now + RETRY_AFTER_LONGEST)
