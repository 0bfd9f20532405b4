"""Connect sessions: the way from a network's name to accounts, with every call to the network between two transactions.

    plan, plan_completion   read and check in one transaction; nothing is written
    reach                   call the network, outside any transaction
    settle                  write the session and what came of it, in the second transaction

The redirect kind leaves the house between `settle` and the callback: see `returning`.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar
from uuid import UUID

from pydantic import SecretStr
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.crypto import KeyRing
from core.db import raw
from core.errors import Conflict, Fault, InvalidInput, Missing, Problem, TemporarilyUnavailable, Unprocessable
from core.ids import new_id
from networks.base import (
    Authorization,
    Capabilities,
    Connected,
    Network,
    NetworkError,
    RateLimited,
    Refused,
    Target,
    Uncertain,
)
from tenants.accounts.attaching import Attached, Grant, attach
from tenants.accounts.models import Account, ConnectSession
from tenants.accounts.redirects import check_return_url, digest_state, redirect_uri, write_state
from tenants.accounts.schemas import ConnectSessionComplete, ConnectSessionCreate, Reconnect
from tenants.accounts.sealing import PENDING, VERIFIER, open_vault
from tenants.agencies.models import Workspace
from tenants.applications.behind import Maker
from tenants.closed import require_open
from tenants.owned import find
from tenants.permissions import Actor

STATE_LIFETIME = timedelta(minutes=10)
"""How long a person has to come back from the network, or to type credentials."""
LINK_LIFETIME = timedelta(days=3)
"""How long the page of a session waits for a person who was sent its address, over a weekend too."""
CHOICE_LIFETIME = timedelta(hours=1)
"""How long the choice between targets may take; until then the authorisation lies sealed in the session."""
DEADLINE_MARGIN_S = 5.0
NOBODY = Maker()
WAITING = frozenset({"awaiting_user", "awaiting_credentials", "choosing"})

Choice = Literal["all"] | list[str] | None
Reached = Connected | Authorization | None
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request came to before the network was asked. `stage`: the states that an existing session may be in."""

    agency_id: UUID
    workspace_id: UUID
    session_id: UUID
    network: Network
    account_id: UUID | None = None
    values: Mapping[str, str] | None = None
    choice: Choice = None
    return_url: str | None = None
    redirect: bool = False
    link: bool = False
    reached: Connected | None = None
    stage: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The network's name."""
        return self.network.capabilities.name

    def __repr__(self) -> str:
        return f"Plan({self.session_id})"


@dataclass(frozen=True, slots=True)
class Settled:
    """A session as it was written, and the accounts that came of it."""

    row: ConnectSession
    attached: Sequence[Attached] = ()
    authorize_url: str | None = None


async def plan(
    session: AsyncSession,
    actor: Actor,
    networks: Mapping[str, Network],
    workspace_id: UUID,
    wish: ConnectSessionCreate,
    *,
    development: bool,
) -> Plan:
    """Check a wish for new accounts. Raises Missing, InvalidInput, Unprocessable (mode); writes nothing."""
    require_open((await find(session, Workspace, actor, workspace_id)).closed_at)
    network = networks.get(wish.network)
    if network is None:
        raise InvalidInput(faults=[Fault("/network", "not_found", "There is no such network.")])
    return _planned(actor, workspace_id, network, wish, choice=wish.targets, development=development)


async def plan_reconnect(
    session: AsyncSession,
    actor: Actor,
    networks: Mapping[str, Network],
    account: tuple[UUID, UUID],
    wish: Reconnect,
    *,
    development: bool,
) -> Plan:
    """Check a wish to authorise an account (workspace, id) anew, as `plan` does. Raises Conflict too."""
    workspace_id, account_id = account
    row = await find(session, Account, actor, account_id, workspace_id=workspace_id)
    require_open((await find(session, Workspace, actor, workspace_id)).closed_at)
    network = networks.get(row.network)
    if network is None:
        raise Conflict("The network of this account is not served here any more.")
    return _planned(actor, workspace_id, network, wish, account_id=row.id, development=development)


def _planned(
    actor: Actor,
    workspace_id: UUID,
    network: Network,
    wish: Reconnect,
    *,
    development: bool,
    account_id: UUID | None = None,
    choice: Choice = None,
) -> Plan:
    facts = network.capabilities
    if facts.test_mode and actor.livemode:
        raise Unprocessable(code="sandbox_needs_test_mode")
    if not facts.test_mode and not actor.livemode:
        raise Unprocessable(code="network_needs_live_mode")
    method = wish.method or ("credentials" if wish.credentials is not None or "credentials" in facts.connect else "redirect")
    if method not in facts.connect:
        pointer = "/method" if wish.method else "/credentials"
        raise InvalidInput(faults=[Fault(pointer, "validation_failed", "The network does not connect this way.")])
    if method == "redirect" and (wish.credentials is not None or choice is not None):
        pointer = "/credentials" if wish.credentials is not None else "/targets"
        detail = "A redirect takes neither credentials nor targets: they come after the person has agreed."
        raise InvalidInput(faults=[Fault(pointer, "validation_failed", detail)])
    if wish.link and (wish.credentials is not None or choice is not None):
        raise InvalidInput(faults=[Fault("/link", "validation_failed", "The page asks for credentials and targets: give none.")])
    return Plan(
        agency_id=actor.agency_id,
        workspace_id=workspace_id,
        session_id=new_id(),
        network=network,
        account_id=account_id,
        values=_values(facts, wish.credentials),
        choice=choice,
        return_url=check_return_url(wish.return_url, development=development),
        redirect=method == "redirect",
        link=wish.link,
    )


def _values(facts: Capabilities, given: Mapping[str, SecretStr] | None) -> dict[str, str] | None:
    if given is None:
        return None
    known = {field.name: field for field in facts.credentials}
    values = {name: secret.get_secret_value() for name, secret in given.items()}
    faults = [
        # The name of an unknown field is not echoed: a secret may stand in its place.
        Fault("/credentials", "unknown_field", f"Known fields are: {', '.join(known)}.")
        for name in values
        if name not in known
    ][:1] + [
        Fault(f"/credentials/{name}", "validation_failed", "This field is needed.")
        for name, field in known.items()
        if field.required and not values.get(name, "").strip()
    ]
    if faults:
        raise InvalidInput(faults=faults)
    return values


async def plan_completion(
    session: AsyncSession,
    actor: Actor,
    networks: Mapping[str, Network],
    ring: KeyRing,
    place: tuple[UUID, UUID],
    wish: ConnectSessionComplete,
    now: datetime,
) -> Plan:
    """Check what completes a session (workspace, id). Raises Missing, InvalidInput, Conflict; writes nothing."""
    workspace_id, session_id = place
    row = await find(session, ConnectSession, actor, session_id, workspace_id=workspace_id)
    return await completion(session, row, networks, ring, wish, now)


async def completion(
    session: AsyncSession,
    row: ConnectSession,
    networks: Mapping[str, Network],
    ring: KeyRing,
    wish: ConnectSessionComplete,
    now: datetime,
) -> Plan:
    """Check what completes a session that the caller was found to reach. Raises InvalidInput, Conflict; writes nothing."""
    network = networks.get(row.network)
    if network is None or row.expires_at <= now or row.state not in {"awaiting_credentials", "choosing"}:
        raise Conflict("The session does not wait for this (any more).", code="connect_state_invalid")
    reached = None
    if row.state == "choosing":
        if wish.credentials is not None or wish.targets is None:
            raise InvalidInput(faults=[Fault("/targets", "validation_failed", "The session waits for `targets` alone.")])
        if row.sealed_credentials is None:
            raise Conflict("The session has ended.", code="connect_state_invalid")
        vault = await open_vault(raw(session), ring, row.agency_id)
        credentials = vault.unseal(row.sealed_credentials, row.id, PENDING)
        reached = Connected(credentials, tuple(Target(**one) for one in row.targets))
    elif wish.credentials is None:
        raise InvalidInput(faults=[Fault("/credentials", "validation_failed", "The session waits for `credentials`.")])
    return Plan(
        agency_id=row.agency_id,
        workspace_id=row.workspace_id,
        session_id=row.id,
        network=network,
        account_id=row.account_id,
        return_url=row.return_url,
        values=_values(network.capabilities, wish.credentials),
        choice=wish.targets,
        reached=reached,
        stage=frozenset({row.state}),
    )


async def reach(plan: Plan, public_url: str) -> tuple[Reached, str]:
    """Ask the network, within its deadline; no transaction is open. Returns the state text too, for a redirect.

    Raises Unprocessable `network_rejected` and TemporarilyUnavailable `network_unavailable`.
    """
    if plan.reached is not None:
        return plan.reached, ""
    if plan.link:
        return None, write_state(plan.agency_id, plan.session_id)
    if plan.redirect:
        state = write_state(plan.agency_id, plan.session_id)
        uri = redirect_uri(public_url, plan.name)
        return await within(plan.network, plan.network.authorize(uri, state)), state
    if plan.values is None:
        return None, ""
    return await within(plan.network, plan.network.connect(plan.values)), ""


async def within(network: Network, call: Awaitable[Answer]) -> Answer:
    """Wait for a call to a network, and turn its errors into answers of the API: connecting can be repeated."""
    try:
        async with asyncio.timeout(network.capabilities.call_deadline.total_seconds() + DEADLINE_MARGIN_S):
            return await call
    except NetworkError as error:
        raise _answer(error) from error
    except TimeoutError as error:
        raise _answer(Uncertain("No answer within the deadline.")) from error


def _answer(error: NetworkError) -> Problem:
    if isinstance(error, Refused) and not isinstance(error, RateLimited):
        return Unprocessable(error.detail, code="network_rejected", reason=error.error_code)
    return TemporarilyUnavailable(error.detail, code="network_unavailable", reason=error.error_code)


async def settle(
    session: AsyncSession, ring: KeyRing, plan: Plan, reached: Reached, now: datetime, *, state: str = "", maker: Maker = NOBODY
) -> Settled:  # fmt: skip
    """Write what the network's answer means. Raises Conflict (another account, a session that moved), InvalidInput.

    One transaction; the caller applies the effects of what was attached in it. `maker` is who begins a new session.
    """
    row = await _row(session, plan, now, maker)
    session.add(row)
    if reached is None:
        row.state = "awaiting_user" if plan.redirect else "awaiting_credentials"
        row.link_hash = digest_state(state) if plan.link else None
    elif isinstance(reached, Authorization):
        vault = await open_vault(raw(session), ring, plan.agency_id)
        row.state = "awaiting_user"
        row.state_hash = digest_state(state)
        row.sealed_verifier = vault.seal_text(VERIFIER, row.id, reached.code_verifier)
    else:
        return await _connected(session, ring, plan, row, reached, now)
    await session.flush()
    return Settled(row, authorize_url=reached.url if reached is not None else None)


async def _row(session: AsyncSession, plan: Plan, now: datetime, maker: Maker) -> ConnectSession:
    """The session to write: a new one, or the one that is completed, locked and still where it was."""
    if not plan.stage:
        return ConnectSession(
            agency_id=plan.agency_id,
            id=plan.session_id,
            workspace_id=plan.workspace_id,
            network=plan.name,
            state="awaiting_credentials",
            account_id=plan.account_id,
            return_url=plan.return_url,
            expires_at=now + (LINK_LIFETIME if plan.link else STATE_LIFETIME),
            created_at=now,
            **asdict(maker),
        )
    query = select(ConnectSession).where(ConnectSession.agency_id == plan.agency_id, ConnectSession.id == plan.session_id)
    row = (await session.exec(query.with_for_update())).one_or_none()
    if row is None:
        raise Missing
    if row.state not in plan.stage:
        raise Conflict("The session does not wait for this (any more).", code="connect_state_invalid")
    return row


async def _connected(
    session: AsyncSession, ring: KeyRing, plan: Plan, row: ConnectSession, reached: Connected, now: datetime
) -> Settled:
    chosen = await _chosen(session, plan, reached.targets)
    if chosen is None:
        vault = await open_vault(raw(session), ring, plan.agency_id)
        row.state = "choosing"
        row.sealed_credentials = vault.seal(reached.credentials, row.id, PENDING)
        row.targets = [asdict(target) for target in reached.targets]
        row.expires_at = now + CHOICE_LIFETIME
        await session.flush()
        return Settled(row)
    # The session first: the accounts' grants name it.
    await session.flush()
    grant = Grant(plan.agency_id, plan.workspace_id, plan.name, row.id, reached.credentials)
    attached = await attach(session, ring, grant, chosen, now)
    row.sqlmodel_update(
        {
            "state": "completed",
            "account_ids": [one.account.id for one in attached],
            "sealed_credentials": None,
            "sealed_verifier": None,
            "state_hash": None,
            "targets": [],
        }
    )
    await session.flush()
    return Settled(row, attached)


async def _chosen(session: AsyncSession, plan: Plan, targets: Sequence[Target]) -> list[Target] | None:
    """The targets to attach; None when a person must choose first."""
    reachable = {target.external_id: target for target in targets}
    if plan.account_id is not None:
        query = select(Account.external_id).where(Account.agency_id == plan.agency_id, Account.id == plan.account_id)
        wanted = (await session.exec(query)).one()
        if wanted not in reachable:
            raise Conflict(code="different_account")
        return [reachable[wanted]]
    if not reachable:
        raise Unprocessable("The authorisation reaches nothing that can be connected.", code="network_rejected")
    if plan.choice == "all":
        return list(reachable.values())
    if plan.choice is None:
        return list(reachable.values()) if len(reachable) == 1 else None
    faults = [
        Fault(f"/targets/{position}", "not_found", "The authorisation does not reach this.")
        for position, external_id in enumerate(plan.choice)
        if external_id not in reachable
    ]
    if faults:
        raise InvalidInput(faults=faults)
    return [reachable[external_id] for external_id in dict.fromkeys(plan.choice)]
