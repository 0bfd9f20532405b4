"""Accounts: connected pages, channels, groups and profiles."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import Field

from api.conditions import IfMatch, check_version, set_etag
from api.dependencies import DB, Bare, Idem, can, can_bare
from api.pagination import Page, PageQuery, page_of, read_cursor
from api.routing import v1
from core.clock import now
from core.db import raw
from core.wire import AccountId, WorkspaceId
from tenants.accounts import effects, queries, service
from tenants.accounts.capabilities import AccountLimits
from tenants.accounts.schemas import NETWORK_LENGTH_MAX, AccountRead, AccountState, AccountUpdate
from tenants.audit.entries import Entry, pick
from tenants.permissions import Actor, Permission
from tenants.posts import limits, release

router = v1("Accounts")
PATH = "/workspaces/{workspace_id}/accounts/{account_id}"


class AccountFilters(PageQuery):
    """Filters of accounts."""

    state: AccountState | None = None
    network: str | None = Field(None, max_length=NETWORK_LENGTH_MAX, examples=["sandbox"])


async def _read(request: Request, db: DB, actor: Actor, workspace_id: UUID, account_id: UUID) -> AccountRead:
    seen = await queries.get_account(db, actor, workspace_id, account_id)
    return queries.read_account(seen, request.app.state.networks, actor)


async def _before(expected: int | None, db: DB, actor: Actor, workspace_id: UUID, account_id: UUID) -> dict[str, Any]:
    """Honour If-Match under the row's lock, which the change after it takes again for nothing. Says what the account was."""
    row = await service.lock_account(db, actor, workspace_id, account_id)
    if expected is not None:
        check_version(expected, row.version)
    return pick("account", row)


def _entry(workspace_id: UUID, account_id: UUID, before: dict[str, Any], after: object) -> Entry:
    return Entry("account", account_id, workspace_id, before, pick("account", after))


@router.get("/workspaces/{workspace_id}/accounts", response_model=Page[AccountRead], summary="List accounts")
async def list_accounts(
    workspace_id: WorkspaceId, db: DB, actor: Annotated[Actor, can(Permission.ACCOUNT_READ)], request: Request,
    response: Response, query: Annotated[AccountFilters, Query()],
) -> dict[str, Any]:  # fmt: skip
    """The accounts of a workspace, newest first, also those that are disconnected."""
    found = await queries.list_accounts(
        db,
        actor,
        workspace_id,
        state=query.state,
        network=query.network,
        after=read_cursor(request, actor, query),
        limit=query.limit + 1,
    )
    networks = request.app.state.networks
    reads = [queries.read_account(seen, networks, actor) for seen in found]
    return page_of(request, response, actor, query, reads, [read.id for read in reads])


@router.get(PATH, response_model=AccountRead, summary="Get an account")
async def get_account(
    workspace_id: WorkspaceId, account_id: AccountId, db: DB, actor: Annotated[Actor, can(Permission.ACCOUNT_READ)],
    request: Request, response: Response,
) -> AccountRead:  # fmt: skip
    """One account: its state, its authorisation without any secret, and what may be done with it."""
    read = await _read(request, db, actor, workspace_id, account_id)
    set_etag(response, read.version)
    return read


@router.get(PATH + "/limits", response_model=AccountLimits, summary="Get what the network still allows")
async def get_account_limits(
    workspace_id: WorkspaceId, account_id: AccountId, db: Bare, actor: Annotated[Actor, can_bare(Permission.ACCOUNT_READ)],
    request: Request,
) -> AccountLimits:  # fmt: skip
    """What the network still takes of this account today, what is scheduled there, and its rules for text and media."""
    return await limits.account_limits(db, actor, request.app.state.networks, workspace_id, account_id, now())


@router.patch(PATH, response_model=AccountRead, summary="Change an account")
async def update_account(
    workspace_id: WorkspaceId, account_id: AccountId, db: DB,
    actor: Annotated[Actor, can(Permission.ACCOUNT_MANAGE)], idem: Idem, expected: IfMatch,
    body: AccountUpdate, request: Request,
) -> Response:  # fmt: skip
    """Change the name or the metadata by JSON merge patch. A name that is given here outlasts a reconnect."""
    before = await _before(expected, db, actor, workspace_id, account_id)
    row = await service.update_account(db, actor, workspace_id, account_id, body, now())
    read = await _read(request, db, actor, workspace_id, account_id)
    return await idem.respond(read, _entry(workspace_id, account_id, before, row), etag=read.version)


@router.post(PATH + "/pause", response_model=AccountRead, summary="Pause an account")
async def pause_account(
    workspace_id: WorkspaceId, account_id: AccountId, db: DB,
    actor: Annotated[Actor, can(Permission.ACCOUNT_MANAGE)], idem: Idem, expected: IfMatch, request: Request,
) -> Response:  # fmt: skip
    """Publish nothing to it until it is resumed. What is scheduled waits as `blocked`."""
    before = await _before(expected, db, actor, workspace_id, account_id)
    moment = now()
    row, effect = await service.pause(db, actor, workspace_id, account_id, moment)
    await effects.apply(release, raw(db), actor.agency_id, [effect] if effect else [], moment)
    read = await _read(request, db, actor, workspace_id, account_id)
    return await idem.respond(read, _entry(workspace_id, account_id, before, row), etag=read.version)


@router.post(PATH + "/resume", response_model=AccountRead, summary="Resume an account")
async def resume_account(
    workspace_id: WorkspaceId, account_id: AccountId, db: DB,
    actor: Annotated[Actor, can(Permission.ACCOUNT_MANAGE)], idem: Idem, expected: IfMatch, request: Request,
) -> Response:  # fmt: skip
    """End a pause: what waited for it is scheduled again. It may need a reconnect first, and then says so."""
    before = await _before(expected, db, actor, workspace_id, account_id)
    moment = now()
    row, effect = await service.resume(db, actor, workspace_id, account_id, moment)
    await effects.apply(release, raw(db), actor.agency_id, [effect] if effect else [], moment)
    read = await _read(request, db, actor, workspace_id, account_id)
    return await idem.respond(read, _entry(workspace_id, account_id, before, row), etag=read.version)


@router.delete(PATH, status_code=204, summary="Disconnect an account")
async def disconnect_account(
    workspace_id: WorkspaceId, account_id: AccountId, db: DB,
    actor: Annotated[Actor, can(Permission.ACCOUNT_MANAGE)], idem: Idem, expected: IfMatch, request: Request,
) -> Response:  # fmt: skip
    """Close its authorisation and delete what was stored of it. The account and its history stay, as `disconnected`."""
    before = await _before(expected, db, actor, workspace_id, account_id)
    moment = now()
    row, effect = await service.disconnect(db, actor, workspace_id, account_id, moment)
    await effects.apply(release, raw(db), actor.agency_id, [effect] if effect else [], moment)
    return await idem.respond(None, _entry(workspace_id, account_id, before, row), status=204)
