"""The authorization server: Authlib's protocol over our rules (families.py), inside `AsyncSession.run_sync`.

Authlib is synchronous and asks the database by its hooks. `run_sync` runs it in a greenlet; there `await_only` waits for our
statements on the session's own connection, so there is one transaction, one stamp and no thread. An error is *returned*, and not
raised: what was revoked because of it must be committed with it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from authlib.oauth2 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749 import ClientMixin, OAuth2Payload, grants
from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from sqlalchemy.util import await_only
from sqlmodel.ext.asyncio.session import AsyncSession

from core.credentials import hash_credential, write
from core.db import Bare, raw, stamp_agency
from tenants.applications import families
from tenants.applications.clients import Found, find_client
from tenants.applications.families import CODE, REFRESH, Consent, Holder, Shown
from tenants.applications.introspection import describe, find_own, workspaces_told
from tenants.applications.redirects import fits
from tenants.applications.tokens import ACCESS

logging.getLogger("authlib").setLevel(logging.WARNING)
"""At DEBUG it writes out the tokens that it hands out."""
PLACE = "https://octavo.invalid/oauth"
"""Authlib wants the request's address for its scheme alone; behind a proxy ours says http."""
METHODS = ["client_secret_basic", "client_secret_post", "none"]
WITH_SECRET = METHODS[:2]
Pairs = Sequence[tuple[str, str]]
Result = TypeVar("Result")


class Payload(OAuth2Payload):  # type: ignore[misc]  # Authlib has no types
    """The parameters of a request, read already."""

    def __init__(self, pairs: Pairs) -> None:
        self._lists: dict[str, list[str]] = {}
        for name, value in pairs:
            self._lists.setdefault(name, []).append(value)

    @property
    def data(self) -> dict[str, str]:
        """Each by its first value."""
        return {name: values[0] for name, values in self._lists.items()}

    @property
    def datalist(self) -> dict[str, list[str]]:
        """Each with all its values."""
        return self._lists


class Asked(OAuth2Request):  # type: ignore[misc]  # as above
    """A request of OAuth, of what was read of it."""

    def __init__(self, method: str, pairs: Pairs, authorization: str | None = None) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}
        super().__init__(method, PLACE, headers=headers)
        self.payload = Payload(pairs)
        self.holder: Holder | None = None
        self.consent: Consent | None = None

    @property
    def args(self) -> dict[str, str]:
        """What stands in the query."""
        return self.payload.data if self.method == "GET" else {}

    @property
    def form(self) -> dict[str, str]:
        """What stands in the body."""
        return self.payload.data if self.method == "POST" else {}


class Client(ClientMixin):  # type: ignore[misc]  # as above
    """An application as Authlib asks about it."""

    def __init__(self, found: Found, pepper: str) -> None:
        self.found = found
        self._pepper = pepper
        self.secret_id: UUID | None = None

    def get_client_id(self) -> str:
        """Its name."""
        return self.found.client_id

    def get_default_redirect_uri(self) -> None:
        """None: a request names its own."""

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """All that was asked for, or None: nothing is dropped in silence. Without a wish it is all that it can have."""
        wanted = frozenset((scope or "").split()) or self.found.scopes
        return " ".join(sorted(wanted)) if wanted <= self.found.scopes else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Say whether it registered this address."""
        return fits(redirect_uri, self.found.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        """Say whether this is a living secret of it."""
        self.secret_id = self.found.secret_that_fits(self._pepper, client_secret)
        return self.secret_id is not None

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """Say whether it may authenticate so: who has a secret shows it."""
        return method in (WITH_SECRET if self.found.confidential else ["none"])

    def check_response_type(self, response_type: str) -> bool:
        """Say whether it may ask for this: codes alone."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Say whether it may come by this way: by itself only where the agency named workspaces."""
        return grant_type != "client_credentials" or bool(self.found.confidential and self.found.workspace_ids)


class OnlyS256(CodeChallenge):  # type: ignore[misc]  # as above
    """PKCE for every application, and by S256. Authlib's own lets a request pass without it, and takes `plain`."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        """Refuse a request without a challenge by S256."""
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A code_challenge is needed, by the code_challenge_method S256.")
        super().validate_code_challenge(grant, redirect_uri)


class ByCode(grants.AuthorizationCodeGrant):  # type: ignore[misc]  # as above
    """A code for a person's yes, and tokens for a code."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def generate_authorization_code(self) -> str:
        """Make a code, of the agency that grants."""
        text: str = self.server.write(CODE, self.request.consent.agency_id, self.request.client.found)
        return text

    def save_authorization_code(self, code: str, request: Asked) -> None:
        """Write the grant and the code."""
        data, server = request.payload.data, self.server
        assert request.consent is not None  # nobody makes a code without a yes
        server.wait(
            families.begin(
                server.db, request.client.found, request.consent, server.hash(code), data["redirect_uri"],
                data["code_challenge"], server.now,
            )
        )  # fmt: skip

    def query_authorization_code(self, code: str, client: Client) -> "ShownCode | None":
        """Find a code that can be used."""
        shown = self.server.wait(families.show_code(self.server.db, self.server.pepper, client.found, code, self.server.now))
        return None if shown is None else ShownCode(shown)

    def delete_authorization_code(self, authorization_code: "ShownCode") -> None:
        """Keep it as used: if it comes again, its family ends."""
        self.server.wait(families.use_code(self.server.db, authorization_code.shown, self.server.now))

    def authenticate_user(self, authorization_code: "ShownCode") -> UUID | None:
        """Name the member who said yes."""
        self.request.holder = authorization_code.shown.holder
        return authorization_code.shown.holder.member_id


class ByRefresh(grants.RefreshTokenGrant):  # type: ignore[misc]  # as above
    """Tokens for a refresh token, which is replaced by a new one."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> "ShownRefresh | None":
        """Find one that can be used."""
        server, client = self.server, self.request.client
        shown = server.wait(families.show_refresh(server.db, server.pepper, client.found, refresh_token, server.now))
        return None if shown is None else ShownRefresh(shown)

    def authenticate_user(self, refresh_token: "ShownRefresh") -> UUID | None:
        """Name the member who said yes."""
        self.request.holder = refresh_token.shown.holder
        return refresh_token.shown.holder.member_id

    def revoke_old_credential(self, refresh_token: "ShownRefresh") -> None:
        """Note that it was used."""
        self.server.wait(families.use_refresh(self.server.db, refresh_token.shown, self.server.now))


class ByItself(grants.ClientCredentialsGrant):  # type: ignore[misc]  # as above
    """A token for an application without a person: for its own agency, in the workspaces that this one named."""

    TOKEN_ENDPOINT_AUTH_METHODS = WITH_SECRET

    def validate_token_request(self) -> None:
        """Refuse what the application cannot have."""
        super().validate_token_request()
        client: Client = self.request.client
        scope = client.get_allowed_scope(self.request.payload.scope)
        if scope is None:
            raise InvalidScopeError
        found = client.found
        self.request.holder = Holder(found.agency_id, tuple(scope.split()), found.workspace_ids, secret_id=client.secret_id)


@dataclass(frozen=True)
class ShownCode:
    """A code, as Authlib asks about it."""

    shown: Shown

    @property
    def code_challenge(self) -> str:
        """What the verifier must fit."""
        return self.shown.code_challenge

    @property
    def code_challenge_method(self) -> str:
        """By S256, always."""
        return "S256"

    def get_redirect_uri(self) -> str:
        """Where it was sent."""
        return self.shown.redirect_uri

    def get_scope(self) -> str:
        """What was granted."""
        return " ".join(self.shown.holder.scopes)


@dataclass(frozen=True)
class ShownRefresh:
    """A refresh token, as Authlib asks about it."""

    shown: Shown

    def get_scope(self) -> str:
        """What was granted."""
        return " ".join(self.shown.holder.scopes)

    def check_client(self, _client: Client) -> bool:
        """True: nobody else's is ever found."""
        return True


class Revocation(RevocationEndpoint):  # type: ignore[misc]  # as above
    """RFC 7009: an access token ends alone, a refresh token with its family. What is not the application's is as if unknown."""

    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token_string: str, _hint: str | None) -> None:
        """End it on the way; there is nothing left to be revoked."""
        server = self.server
        server.wait(end_shown(server.db, server.pepper, server.client, token_string, server.now))


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]  # as above
    """RFC 7662, for an application's own tokens: what they are worth now."""

    CLIENT_AUTH_METHODS = WITH_SECRET

    def query_token(self, token_string: str, _hint: str | None) -> dict[str, Any] | None:
        """Describe a living token."""
        server = self.server
        found: dict[str, Any] | None = server.wait(
            describe(server.db, server.pepper, server.client, token_string, server.issuer, server.now)
        )
        return found

    def check_permission(self, _token: Any, _client: Any, _request: Any) -> bool:
        """True: nobody else's is ever found."""
        return True

    def create_introspection_payload(self, token: dict[str, Any] | None) -> dict[str, Any]:
        """Answer it, or that it is not alive."""
        return token or {"active": False}


async def end_shown(db: Bare, pepper: str, client: Found, text: str, now: datetime) -> None:
    """End a token that its own application shows."""
    own = await find_own(db, pepper, client, text, now)
    if own is None:
        return
    if own.refresh is not None:
        await families.end(db, client, own.agency_id, own.refresh["grant_id"], "application", now)
    else:
        await families.end_access_token(db, own.agency_id, hash_credential(pepper, text), now)


@dataclass
class Answer:
    """What the server answers, for whoever writes it out."""

    status: int
    body: Any
    headers: Mapping[str, str]
    client: Found | None = field(default=None)


class Authority(AuthorizationServer):  # type: ignore[misc]  # as above
    """The server for one request."""

    def __init__(
        self, session: AsyncSession, pepper: str, issuer: str, now: datetime, admit: Callable[[Found], None] | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        self._admit = admit
        self.db: Bare = raw(session)
        self.pepper, self.issuer, self.now = pepper, issuer, now
        self.client: Found | None = None
        self.register_token_generator("default", self._make)
        self.register_grant(ByCode, [OnlyS256()])
        self.register_grant(ByRefresh)
        self.register_grant(ByItself)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

    def authenticate_client(self, request: Asked, methods: Sequence[str], endpoint: str = "token") -> Client:
        """Find out who asks, and let it be counted."""
        client: Client = super().authenticate_client(request, methods, endpoint)
        if self._admit is not None:
            self._admit(client.found)
        return client

    def wait(self, work: Awaitable[Result]) -> Result:
        """Wait for a statement, inside of the greenlet."""
        return await_only(work)

    def hash(self, text: str) -> bytes:
        """Hash a credential for storage."""
        return hash_credential(self.pepper, text)

    def write(self, kind: str, agency_id: UUID, client: Found) -> str:
        """Make the text of a credential."""
        return write(kind, agency_id, livemode=client.livemode)

    def query_client(self, client_id: str) -> Client | None:
        """Find an application by its name."""
        self.client = self.wait(find_client(self.db, client_id))
        return None if self.client is None else Client(self.client, self.pepper)

    def _make(self, *, client: Client, scope: str | None, include_refresh_token: bool, **_: Any) -> dict[str, Any]:
        return {"token_type": "Bearer", "scope": scope, "include_refresh_token": include_refresh_token}

    def save_token(self, token: dict[str, Any], request: Asked) -> None:
        """Complete the tokens, for whom they are is known now, and write their hashes."""
        holder, client = request.holder, request.client
        if holder is None:
            raise UnauthorizedClientError
        scopes = tuple((token["scope"] or "").split()) or holder.scopes
        access = self.write(ACCESS, holder.agency_id, client.found)
        refresh = self.write(REFRESH, holder.agency_id, client.found) if token.pop("include_refresh_token") else None
        self.wait(stamp_agency(self.db, holder.agency_id))
        self.wait(families.issue(self.db, self.pepper, client.found, holder, scopes, access, refresh, self.now))
        token |= {"access_token": access, "scope": " ".join(scopes), "expires_in": int(families.ACCESS_LIVES.total_seconds())}
        token["authorization_details"] = workspaces_told(holder.workspace_ids)
        if refresh is not None:
            token["refresh_token"] = refresh

    def create_oauth2_request(self, request: Asked) -> Asked:
        """Take it as it is."""
        return request

    def send_signal(self, *_: Any, **__: Any) -> None:
        """Tell nobody."""

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        """Keep it for whoever writes it out."""
        return Answer(status, body, dict(headers), self.client)


async def served(
    session: AsyncSession, pepper: str, issuer: str, now: datetime, work: Callable[[Authority], Result],
    admit: Callable[[Found], None] | None = None,
) -> Result:  # fmt: skip
    """Run `work` with a server of its own, on the session's connection. `admit` is told who asks, and may refuse."""
    return await session.run_sync(lambda _: work(Authority(session, pepper, issuer, now, admit)))
