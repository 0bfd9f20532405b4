"""A strict network in process: rotating tokens whose family ends on reuse, several targets, both ways to connect.

What it did stands in `exchanges` and `reuses`; what its answers meet is set by `script`.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, cast

from core.clock import now
from networks.base import (
    Authorization,
    Capabilities,
    Connected,
    CredentialField,
    Credentials,
    MediaRule,
    Network,
    Target,
    TextRule,
    Unauthorized,
    Unavailable,
    Uncertain,
)

Token = Literal["static", "refresh_stable", "refresh_rotating", "sliding"]
Fate = Literal["ok", "lost", "never_sent", "unclear"]


def facts(
    name: str = "scripted", *, grace: timedelta = timedelta(0), token: Token = "refresh_rotating", test: bool = True
) -> Capabilities:
    """The facts of a scripted network."""
    return Capabilities(
        name=name,
        title=name.title(),
        connect=frozenset({"credentials", "redirect"}),
        credentials=(CredentialField("login", "Login"), CredentialField("password", "Password", secret=True)),
        text=TextRule(500, "graphemes"),
        media=MediaRule(),
        dedupe="blind",
        settle=timedelta(seconds=1),
        call_deadline=timedelta(seconds=2),
        token=token,
        refresh_grace=grace,
        test_mode=test,
    )


@dataclass
class Family:
    """One authorisation at the network: the live refresh token, the one before, and whether it was ended."""

    login: str
    live: str
    before: str | None = None
    rotated_at: datetime | None = None
    revoked: bool = False


@dataclass
class Scripted:
    """The network. Logins end in the number of their targets: `bakery` has one, `chain-3` has three."""

    capabilities: Capabilities = field(default_factory=facts)
    life: timedelta | None = timedelta(hours=2)
    script: list[Fate] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    exchanges: int = 0
    reuses: int = 0
    codes: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    send_refresh: bool = True
    issuer: str | None = "https://scripted.test"
    delay_s: float = 0.0
    asked: int = 0
    answers: asyncio.Event | None = None
    """Until this is set, who connects waits."""

    @property
    def as_network(self) -> Network:
        """The same, by the type that the code under test asks for: publishing is not scripted."""
        return cast(Network, self)

    def _credentials(self, family: Family) -> Credentials:
        refresh = family.live if self.send_refresh else ""
        values = {"access_token": f"a_{secrets.token_hex(8)}", "refresh_token": refresh}
        return Credentials(values, now() + self.life if self.life is not None else None, ("read", "write"))

    def _connected(self, login: str) -> Connected:
        family = Family(login, f"r_{secrets.token_hex(8)}")
        self.families[family.live] = family
        name, _, count = login.partition("-")
        many = [f"{name}.{number}" for number in range(1, int(count) + 1)] if count else [name]
        targets = tuple(Target(one, one.title(), handle=one, metadata={"shard": 7}, newest_external_id="p1") for one in many)
        return Connected(self._credentials(family), targets)

    async def connect(self, credentials: Mapping[str, str]) -> Connected:
        """Try a login."""
        self.asked += 1
        if self.answers is not None:
            await self.answers.wait()
        if credentials["password"] == "down":
            raise Unavailable("The network is away.")
        if credentials["password"] != "right":
            raise Unauthorized("The network does not know this login.")
        return self._connected(credentials["login"])

    async def authorize(self, redirect_uri: str, state: str) -> Authorization:
        """Begin the redirect kind."""
        return Authorization(f"https://scripted.test/auth?state={state}&redirect_uri={redirect_uri}", "v" * 43)

    def agree(self, login: str, redirect_uri: str) -> str:
        """A person agrees there: the code that the callback brings."""
        code = secrets.token_hex(8)
        self.codes[code] = (login, redirect_uri, "v" * 43)
        return code

    async def exchange(self, redirect_uri: str, code: str, code_verifier: str) -> Connected:
        """End the redirect kind; a code is good once, with its verifier and address."""
        login, uri, verifier = self.codes.pop(code, ("", "", ""))
        if not login or (uri, verifier) != (redirect_uri, code_verifier):
            raise Unauthorized("The code is not valid.")
        return self._connected(login)

    async def refresh(self, credentials: Credentials) -> Credentials:
        """Rotate, as the script says."""
        fate: Fate = self.script.pop(0) if self.script else "ok"
        if fate == "never_sent":
            raise Unavailable("The network is away.")
        self.exchanges += 1
        await asyncio.sleep(self.delay_s)
        if fate == "unclear":
            raise Uncertain("The network answered 500.")
        family = self._presented(credentials.values["refresh_token"])
        if fate == "lost":
            raise Uncertain("The connection was cut.")
        return self._credentials(family)

    def _presented(self, token: str) -> Family:
        family = self.families.get(token)
        if family is None or family.revoked:
            raise Unauthorized("The authorisation is dead.")
        if token == family.live:
            family.before, family.live, family.rotated_at = token, f"r_{secrets.token_hex(8)}", now()
            self.families[family.live] = family
            return family
        grace = self.capabilities.refresh_grace
        if token == family.before and family.rotated_at is not None and now() - family.rotated_at < grace:
            return family
        self.reuses += 1
        family.revoked = True
        raise Unauthorized("The token was used before: all of its family is dead.")

    def end(self, login: str) -> None:
        """The person takes the right back, there."""
        for family in self.families.values():
            family.revoked = family.revoked or family.login == login
