"""Connect sessions: the ways to new accounts, and back to lost ones.

Each of these routes that begins or goes on asks a network and waits for it: two short transactions, and none open between them.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Request, Response

from api.dependencies import DB, Idem, IdemApart, can, can_apart
from api.idempotency import Apart
from api.routing import v1
from core.clock import now
from core.db import raw
from core.ids import encode
from core.wire import PREFIXES, AccountId, ConnectSessionId, WorkspaceId
from tenants.accounts import connecting, effects, sessions
from tenants.accounts.connecting import Plan
from tenants.accounts.models import ConnectSession
from tenants.accounts.redirects import link_address
from tenants.accounts.schemas import ConnectSessionComplete, ConnectSessionCreate, ConnectSessionRead, Reconnect
from tenants.applications.behind import maker_of
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission
from tenants.posts import release

router = v1("Accounts")
PATH = "/workspaces/{workspace_id}/connect-sessions"


def _development(request: Request) -> bool:
    return bool(request.app.state.settings.environment == "development")


async def _carry_out(request: Request, actor: Actor, idem: Apart, plan: Plan) -> Response:
    """Ask the network, then write what came of it and the answer in one transaction."""
    state = request.app.state
    reached, secret = await connecting.reach(plan, state.settings.public_url)
    async with state.database.session(actor.tenant) as session:
        actor = await idem.begin(session)
        moment = now()
        maker = await maker_of(raw(session), actor)
        settled = await connecting.settle(session, state.ring, plan, reached, moment, state=secret, maker=maker)
        told = [one.effect for one in settled.attached]
        await effects.apply(release, raw(session), actor.agency_id, told, moment)
        link = link_address(state.settings.public_url, secret) if plan.link else None
        read = await sessions.read_session(
            session, settled.row, state.networks, actor, moment, authorize_url=settled.authorize_url, link=link
        )
        entry = _entry(plan, settled.row)
        if plan.stage:
            return await idem.respond_in(session, read, entry)
        location = _location(plan.workspace_id, plan.session_id)
        if plan.link:
            return await idem.respond_secret_in(session, read, entry, status=201, location=location, shown_once="url")
        return await idem.respond_in(session, read, entry, status=201, location=location)


def _entry(plan: Plan, row: object) -> Entry:
    """A reconnect is about its account, everything else about the session itself."""
    after = pick("connect_session", row)
    if plan.account_id is not None and not plan.stage:
        return Entry("account", plan.account_id, plan.workspace_id, after=after)
    before = {"state": next(iter(plan.stage))} if plan.stage else None
    return Entry("connect_session", plan.session_id, plan.workspace_id, before, after)


def _location(workspace_id: UUID, session_id: UUID) -> str:
    workspace, own = encode(PREFIXES["workspace"], workspace_id), encode(PREFIXES["connect_session"], session_id)
    return f"/v1/workspaces/{workspace}/connect-sessions/{own}"


@router.post(PATH, status_code=201, response_model=ConnectSessionRead, summary="Connect accounts")
async def create_connect_session(
    workspace_id: WorkspaceId, actor: Annotated[Actor, can_apart(Permission.ACCOUNT_CONNECT)], idem: IdemApart,
    body: ConnectSessionCreate, request: Request,
) -> Response:  # fmt: skip
    """Begin to connect accounts of a network; with credentials (and targets, or "all") it ends at once.

    Connecting something that is connected already, or once was, renews its account: the id and the history stay. A page, and a way
    over the network's own page, end with who began it.
    """
    state = request.app.state
    async with state.database.session(actor.tenant) as session:
        plan = await connecting.plan(session, actor, state.networks, workspace_id, body, development=_development(request))
        await idem.look(session)
    return await _carry_out(request, actor, idem, plan)


@router.get(PATH + "/{connect_session_id}", response_model=ConnectSessionRead, summary="Get a connect session")
async def get_connect_session(
    workspace_id: WorkspaceId, connect_session_id: ConnectSessionId, db: DB,
    actor: Annotated[Actor, can(Permission.ACCOUNT_CONNECT)], request: Request,
) -> ConnectSessionRead:  # fmt: skip
    """How far it got: what it waits for, or the accounts that came of it."""
    row = await sessions.get_session(db, actor, workspace_id, connect_session_id)
    return await sessions.read_session(db, row, request.app.state.networks, actor, now())


@router.delete(PATH + "/{connect_session_id}", status_code=204, summary="End a connect session")
async def revoke_connect_session(
    workspace_id: WorkspaceId, connect_session_id: ConnectSessionId, db: DB,
    actor: Annotated[Actor, can(Permission.ACCOUNT_CONNECT)], idem: Idem,
) -> Response:  # fmt: skip
    """End a session before its time: it connects nothing any more, and its page is gone, from this answer on.

    Accounts that came of it stay: disconnect them by themselves.
    """
    row = await sessions.lock_session(db, actor, workspace_id, connect_session_id)
    before = _told(row)
    await sessions.revoke_session(db, row)
    return await idem.respond(None, Entry("connect_session", row.id, workspace_id, before, _told(row)), status=204)


def _told(row: ConnectSession) -> dict[str, Any]:
    """What the log says of a session that is ended: whether it had a page too."""
    return pick("connect_session", row) | {"link": row.link_hash is not None}


@router.post(PATH + "/{connect_session_id}/complete", response_model=ConnectSessionRead, summary="Complete a connect session")
async def complete_connect_session(
    workspace_id: WorkspaceId, connect_session_id: ConnectSessionId,
    actor: Annotated[Actor, can_apart(Permission.ACCOUNT_CONNECT)], idem: IdemApart, body: ConnectSessionComplete,
    request: Request,
) -> Response:  # fmt: skip
    """Give the credentials that it waits for, or choose among the targets that it offers."""
    state = request.app.state
    async with state.database.session(actor.tenant) as session:
        # The look first: a session that was completed by this very request does not wait any more.
        await idem.look(session)
    async with state.database.session(actor.tenant) as session:
        place = (workspace_id, connect_session_id)
        plan = await connecting.plan_completion(session, actor, state.networks, state.ring, place, body, now())
    return await _carry_out(request, actor, idem, plan)


@router.post(
    "/workspaces/{workspace_id}/accounts/{account_id}/reconnect",
    status_code=201,
    response_model=ConnectSessionRead,
    summary="Reconnect an account",
)
async def reconnect_account(
    workspace_id: WorkspaceId, account_id: AccountId, actor: Annotated[Actor, can_apart(Permission.ACCOUNT_CONNECT)],
    idem: IdemApart, body: Reconnect, request: Request,
) -> Response:  # fmt: skip
    """Authorise an account anew: its id and its history stay, and what waited for it is released.

    An authorisation for anybody else answers 409 `different_account` and changes nothing.
    """
    state = request.app.state
    async with state.database.session(actor.tenant) as session:
        plan = await connecting.plan_reconnect(
            session, actor, state.networks, (workspace_id, account_id), body, development=_development(request)
        )
        await idem.look(session)
    return await _carry_out(request, actor, idem, plan)
