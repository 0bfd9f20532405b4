"""The sandbox network: served by Octavo itself (api/inbound/sandbox.py), spoken to like any other, over HTTP.

It is of the contract class `readback`: a post carries a marker, no repeat is harmless, and only a look at the profile's
list can tell what became of an unanswered call.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from core import clock
from networks.base import (
    Absent,
    Authorization,
    Call,
    Capabilities,
    Connected,
    CredentialField,
    Credentials,
    Draft,
    Duplicate,
    Expired,
    Finding,
    Forbidden,
    Found,
    Handles,
    Inconclusive,
    MediaRule,
    NetworkError,
    RateLimited,
    Receipt,
    Reconciled,
    Rejected,
    Target,
    TextRule,
    Unauthorized,
    Unavailable,
    Uncertain,
)
from networks.client import Answer, Client, retry_after
from networks.oauth import OAuthServer, authorize_url, exchange_code, read_object, read_userinfo

CALL_DEADLINE = timedelta(seconds=10)
SETTLE = timedelta(seconds=30)
SKEW = timedelta(minutes=2)
"""How far our database's clock and the network's may lie apart: the list must reach back this much further."""
TEXT_LENGTH_MAX = 500
MEDIA_COUNT_MAX = 4
MEDIA_BYTES_MAX = 5 * 1024 * 1024
MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
ALT_LENGTH_MAX = 2_000
PAGE_SIZE = 100
PAGES_MAX = 5
MESSAGE_LENGTH_MAX = 500
SCOPE = "openid profile"
STEP = "image_"
PROMISE = (
    "Exactly once, unless the sandbox shows a post later than its settle time after the call; for the handle `blind`, at most once."
)
PROOFS: dict[tuple[int, str], type[NetworkError]] = {
    (400, "invalid_request"): Rejected,
    (400, "invalid_grant"): Unauthorized,
    (401, "unknown_handle"): Unauthorized,
    (401, "token_revoked"): Unauthorized,
    # RFC 6750 says invalid_token also for a token that a refresh elsewhere has replaced: the refresh proves which it is
    (401, "invalid_token"): Expired,
    (401, "token_expired"): Expired,
    (403, "read_not_allowed"): Forbidden,
    (404, "unknown_profile"): Forbidden,
    (409, "duplicate_content"): Duplicate,
    (413, "too_large"): Rejected,
    (415, "unsupported_media"): Rejected,
    (422, "content_rejected"): Rejected,
}
"""Answers that prove that nothing was done. What is not here, and no 429, proves nothing."""
DETAILS: dict[type[NetworkError], str] = {
    Rejected: "The sandbox refused the content.",
    Unauthorized: "The sandbox says that the authorisation is dead.",
    Expired: "The access token for the sandbox ran out.",
    Forbidden: "The sandbox does not allow this with the right that was given.",
    Duplicate: "The sandbox says that it has this post already.",
}


class Sandbox:
    """The connector. `base_url` is where the sandbox's server answers; `oauth` switches the redirect kind on."""

    def __init__(
        self,
        client: Client,
        *,
        base_url: str,
        oauth: OAuthServer | None = None,
        settle: timedelta = SETTLE,
        deadline: timedelta = CALL_DEADLINE,
    ) -> None:
        self._client = client
        self.issuer: str | None = oauth.issuer if oauth else None
        self._base_url = base_url.rstrip("/")
        self._oauth = oauth
        self.capabilities = _capabilities(redirect=oauth is not None, settle=settle, deadline=deadline)

    # --- connecting ------------------------------------------------------------------------------------------------

    async def authorize(self, redirect_uri: str, state: str) -> Authorization:
        """Begin the redirect kind at the configured OAuth server."""
        return authorize_url(self._server(), redirect_uri, state, SCOPE)

    async def exchange(self, redirect_uri: str, code: str, code_verifier: str) -> Connected:
        """End the redirect kind: the person's subject becomes a sandbox profile with two pages."""
        server = self._server()
        token = await exchange_code(self._client, server, redirect_uri=redirect_uri, code=code, code_verifier=code_verifier)
        person = await read_userinfo(self._client, server, token)
        return await self._open({"grant_type": "subject", "subject": person["sub"]})

    async def connect(self, credentials: Mapping[str, str]) -> Connected:
        """Open a handle; Unauthorized for one that the sandbox does not know."""
        return await self._open({"grant_type": "handle", "handle": credentials.get("handle", "")})

    async def refresh(self, credentials: Credentials) -> Credentials:
        """Exchange the refresh token for a new pair; the old one is spent."""
        wish = {"grant_type": "refresh_token", "refresh_token": credentials.values["refresh_token"]}
        return _credentials(await self._answer("POST", "/token", json=wish, expect=200))

    def _server(self) -> OAuthServer:
        if self._oauth is None:
            raise Rejected("The sandbox connects with a handle; it has no OAuth server here.", code="not_supported")
        return self._oauth

    async def _open(self, wish: dict[str, str]) -> Connected:
        body = await self._answer("POST", "/token", json=wish, expect=200)
        credentials = _credentials(body)
        targets = tuple(_target(one) for one in _objects(body.get("targets")))
        if not targets:
            raise Uncertain("The sandbox named no profile.")
        return Connected(credentials, targets)

    # --- publishing ------------------------------------------------------------------------------------------------

    def check(self, draft: Draft) -> Sequence[Finding]:
        """Hold the draft against the limits."""
        return _findings(draft)

    def plan(self, draft: Draft) -> Sequence[str]:
        """One step for each image."""
        return [f"{STEP}{number}" for number in range(len(draft.media))]

    async def prepare(self, step: str, call: Call) -> Handles:
        """Upload one image; a repeat leaves an upload that nobody sees."""
        media = call.draft.media[int(step.removeprefix(STEP))]
        body = await self._answer(
            "POST",
            "/media",
            credentials=call.credentials,
            headers={"Content-Type": media.content_type},
            data=call.media_data[media.asset_version_id],
            expect=201,
        )
        return {step: _text(body, "id")}

    def freeze(self, call: Call) -> Handles:
        """Fix the marker, by which the post is known in the profile's list."""
        return {"marker": call.key}

    async def publish(self, call: Call) -> Receipt:
        """Publish under the frozen marker."""
        wish = {
            "profile": call.account.external_id,
            "marker": call.handles["marker"],
            "text": call.draft.text,
            "media": [{"id": call.handles[f"{STEP}{number}"], "alt": one.alt_text} for number, one in enumerate(call.draft.media)],
        }
        body = await self._answer("POST", "/posts", credentials=call.credentials, json=wish, expect=201)
        return self._receipt(body)

    async def reconcile(self, call: Call) -> Reconciled:
        """Look for the marker in the profile's list. Absent needs a list that is fresh, complete and not blind.

        Each further page begins with the last post of the one before, so that a page that is silently empty (seen in
        the fault campaign) is told from the end of the list.
        """
        if "read" not in call.credentials.scopes:
            return Inconclusive("The authorisation does not include the right to read back.")
        marker, horizon = call.handles["marker"], call.started_at - SKEW
        seen: dict[str, datetime] = {}
        oldest_look: datetime | None = None
        start: str | None = None
        link: str | None = None
        for _ in range(PAGES_MAX):
            page = await self._page(call, start)
            looked_at, posts = _instant(page.get("as_of")), _objects(page.get("posts"))
            for post in posts:
                if post.get("marker") == marker:
                    return Found(self._receipt(post), f"The list of {looked_at.isoformat()} shows the marker.")
            shown = posts + _objects([page["pinned"]] if page.get("pinned") else [])
            made_at = {_text(post, "id"): _instant(post.get("created_at")) for post in shown}
            if link is not None and link not in made_at:
                return Inconclusive("A later page of the list does not join the one before.")
            if "next" not in page:
                return Inconclusive("The list does not say whether it goes on.")
            seen |= made_at
            oldest_look = min(oldest_look or looked_at, looked_at)
            start = page["next"]
            if start is None or (posts and made_at[posts[-1]["id"]] < horizon):
                return _absence(call, oldest_look, seen)
            link = _text(posts[-1], "id") if posts else ""
        return Inconclusive(f"The list does not reach back to the call within {PAGES_MAX} pages.")

    async def _page(self, call: Call, start: str | None) -> dict[str, Any]:
        params = {"profile": call.account.external_id, "limit": str(PAGE_SIZE)}
        if start is not None:
            params["from"] = str(start)
        return await self._answer("GET", "/posts", credentials=call.credentials, params=params, expect=200)

    async def delete(self, call: Call) -> None:
        """Take the post away; one that is not there counts as done."""
        answer = await self._send("DELETE", f"/posts/{call.external_id}", credentials=call.credentials)
        if answer.status == 204 or (answer.status == 404 and read_object(answer).get("error") == "not_found"):
            return
        _raise(answer)

    # --- the wire --------------------------------------------------------------------------------------------------

    def _receipt(self, post: Mapping[str, Any]) -> Receipt:
        external_id, url = _text(post, "id"), post.get("url")
        shown = isinstance(url, str) and url.startswith(("http://", "https://"))
        return Receipt(external_id, url if shown else f"{self._base_url}/posts/{external_id}")

    async def _answer(self, method: str, path: str, *, expect: int, **sent: Any) -> dict[str, Any]:
        answer = await self._send(method, path, **sent)
        if answer.status != expect:
            _raise(answer)
        body = read_object(answer)
        if not body:
            raise Uncertain("The sandbox gave an answer that cannot be read.", http_status=answer.status)
        return body

    async def _send(
        self, method: str, path: str, *, credentials: Credentials | None = None, headers: Any = None, **sent: Any
    ) -> Answer:
        own = dict(headers or {})
        if credentials is not None:
            own["Authorization"] = f"Bearer {credentials.values['access_token']}"
        deadline_s = self.capabilities.call_deadline.total_seconds()
        return await self._client.request(method, self._base_url + path, headers=own, deadline_s=deadline_s, **sent)


def _capabilities(*, redirect: bool, settle: timedelta, deadline: timedelta) -> Capabilities:
    return Capabilities(
        name="sandbox",
        title="Sandbox",
        connect=frozenset({"credentials", "redirect"} if redirect else {"credentials"}),
        credentials=(CredentialField("handle", "Handle: the behaviour to play, such as always_ok"),),
        text=TextRule(TEXT_LENGTH_MAX, "code_points"),
        media=MediaRule(
            kinds=frozenset({"image"}),
            max_count=MEDIA_COUNT_MAX,
            content_types=MEDIA_TYPES,
            max_bytes=MEDIA_BYTES_MAX,
            max_alt_length=ALT_LENGTH_MAX,
        ),
        dedupe="readback",
        settle=settle,
        call_deadline=deadline,
        token="refresh_rotating",  # the name of a kind, not a token
        test_mode=True,
        promise=PROMISE,
    )


def _findings(draft: Draft) -> list[Finding]:
    found: list[Finding] = []

    def add(code: str, pointer: str, detail: str, limit: int | None = None, actual: int | None = None) -> None:
        found.append(Finding(code, "error", pointer, detail, limit, actual))

    length = len(draft.text)
    if not draft.text.strip() and not draft.media:
        add("empty", "/text", "A post needs text or an image.")
    if length > TEXT_LENGTH_MAX:
        add("text_too_long", "/text", "The text is too long for the sandbox.", TEXT_LENGTH_MAX, length)
    if len(draft.media) > MEDIA_COUNT_MAX:
        add("too_many_media", "/media", "There are too many images.", MEDIA_COUNT_MAX, len(draft.media))
    for number, one in enumerate(draft.media):
        pointer = f"/media/{number}"
        if one.content_type not in MEDIA_TYPES:
            add("media_type", pointer, "The sandbox takes JPEG, PNG, WebP and GIF.")
        if one.size_bytes > MEDIA_BYTES_MAX:
            add("media_too_large", pointer, "The image has too many bytes.", MEDIA_BYTES_MAX, one.size_bytes)
        if len(one.alt_text) > ALT_LENGTH_MAX:
            add("alt_text_too_long", pointer, "The image's text is too long.", ALT_LENGTH_MAX, len(one.alt_text))
        if not one.alt_text.strip():
            found.append(Finding("alt_text_missing", "warning", pointer, "The image has no text for those who cannot see it."))
    return found


def _absence(call: Call, looked_at: datetime, seen: Mapping[str, datetime]) -> Reconciled:
    known = {one for one in (call.control, call.account.newest_external_id) if one} & seen.keys()
    # a list shows what its own grant wrote: the welcome of a grant that came after the call says nothing about the call
    controls = {one for one in known if seen[one] <= call.started_at}
    if looked_at <= call.started_at:
        return Inconclusive("The list is older than the call.")
    if not controls:
        return Inconclusive("The list shows no post that is known to have been there before the call.")
    return Absent(f"The list of {looked_at.isoformat()} is complete, shows {min(controls)} and not the marker.")


def _raise(answer: Answer) -> NoReturn:
    """Say what an answer proves; what stands in no table proves nothing."""
    body = read_object(answer)
    said = body.get("error")
    code = said if isinstance(said, str) and len(said) <= 64 else None
    if answer.status == 429:
        until = retry_after(answer.headers, clock.now())
        raise RateLimited("The sandbox asks to wait.", until=until, raw_code=code, http_status=429)
    if answer.status == 503 and body.get("accepted") is False:
        raise Unavailable("The sandbox is down and says that nothing was done.", raw_code=code, http_status=503)
    kind = PROOFS.get((answer.status, code or ""))
    if kind is None:
        raise Uncertain(f"The sandbox answered {answer.status}.", raw_code=code, http_status=answer.status)
    message = body.get("message")
    detail = message if isinstance(message, str) and message.isprintable() else DETAILS[kind]
    raise kind(detail[:MESSAGE_LENGTH_MAX], raw_code=code, http_status=answer.status)


def _credentials(body: Mapping[str, Any]) -> Credentials:
    life_s = body.get("expires_in")
    if not isinstance(life_s, int):
        raise Uncertain("The sandbox gave a token answer that cannot be read.")
    values = {"access_token": _text(body, "access_token"), "refresh_token": _text(body, "refresh_token")}
    scopes = body.get("scopes")
    known = tuple(str(one) for one in scopes) if isinstance(scopes, list) else ()
    return Credentials(values, clock.now() + timedelta(seconds=life_s), known)


def _target(one: Mapping[str, Any]) -> Target:
    external_id, welcome = _text(one, "external_id"), one.get("welcome_id")
    return Target(
        external_id,
        str(one.get("name") or external_id),
        handle=external_id,
        newest_external_id=welcome if isinstance(welcome, str) else None,
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Uncertain("The sandbox gave a list that cannot be read.")
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Uncertain(f"The sandbox's answer lacks `{name}`.")
    return value


def _instant(value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise Uncertain("The sandbox gave a time that cannot be read.")
    return instant.astimezone(UTC)
