"""What each operation is called in the audit log, and from where its caller came.

`Idempotency.respond` writes the entry together with the answer, so an operation that answers with an effect has its entry in
the transaction of the effect: one, none when it rolls back, none for a replay.
"""

from dataclasses import replace
from uuid import UUID

from fastapi import Request

from tenants.audit.entries import USER_AGENT_LENGTH_MAX, Origin
from tenants.permissions import Actor

AUDITED = {
    "create_api_key": "key.create",
    "revoke_api_key": "key.revoke",
    "update_agency": "agency.update",
    "transfer_agency": "agency.transfer",
    "create_workspace": "workspace.create",
    "update_workspace": "workspace.update",
    "create_connect_session": "connect_session.create",
    "complete_connect_session": "connect_session.complete",
    "revoke_connect_session": "connect_session.revoke",
    "reconnect_account": "account.reconnect",
    "update_account": "account.update",
    "pause_account": "account.pause",
    "resume_account": "account.resume",
    "disconnect_account": "account.disconnect",
    "upload_media": "asset.create",
    "update_media": "asset.update",
    "delete_media": "asset.delete",
    "create_post": "post.create",
    "create_posts": "post.create_many",
    "import_posts": "post.import",
    "update_post": "post.update",
    "schedule_post": "post.schedule",
    "cancel_post": "post.cancel",
    "archive_post": "post.archive",
    "delete_post": "post.delete",
    "retry_publication": "publication.retry",
    "cancel_publication": "publication.cancel",
    "resolve_publication": "publication.resolve",
    "delete_publication": "publication.delete",
    "export_agency": "agency.export",
    "close_agency": "agency.close",
    "keep_agency": "agency.keep",
    "export_workspace": "workspace.export",
    "close_workspace": "workspace.close",
    "open_workspace": "workspace.open",
    "create_share_link": "share_link.create",
    "revoke_share_link": "share_link.revoke",
    "update_member": "member.update",
    "remove_member": "member.remove",
    "assign_member": "member.assign",
    "unassign_member": "member.unassign",
    "create_invitation": "invitation.create",
    "resend_invitation": "invitation.resend",
    "revoke_invitation": "invitation.revoke",
    "create_role": "role.create",
    "update_role": "role.update",
    "delete_role": "role.delete",
    "create_application": "application.create",
    "update_application": "application.update",
    "delete_application": "application.delete",
    "rotate_application_secret": "application.rotate_secret",
    "revoke_grant": "grant.revoke",
    "create_embed_token": "embed_token.create",
    "create_identity_provider": "identity_provider.create",
    "update_identity_provider": "identity_provider.update",
    "delete_identity_provider": "identity_provider.delete",
}
"""Operation -> action. A test holds it against every operation of the document that is not safe."""
INVITATION_ACCEPTED = "invitation.accept"
"""A person does it, who is a member from then on."""
IDENTITY_LINKED = "member.link_identity"
"""Somebody came by a provider for the first time, and is this member from then on."""
CONNECT_CALLBACK = "connect_session.complete"
"""The same as a person does it, coming back from a network."""
CONSENT = "grant.create"
"""A person said yes to an application, on the page that asks."""
REGISTRATION = AUDITED["create_application"]


def action_of(request: Request) -> str:
    """What the request's operation is called."""
    return AUDITED[request.scope["route"].name]


def origin_of(request: Request) -> Origin:
    """Who asks, for whom, and from where."""
    actor: Actor = request.state.actor
    if actor.application_id is not None:
        credential = None if actor.grant_id is None else ("grant", actor.grant_id)
        found = from_where(request, "application", actor.application_id, credential)
        return replace(found, on_behalf_of=actor.member_id)
    if actor.member_id is not None:
        return by_session(request, actor.member_id, actor.session_id)
    assert actor.key_id is not None  # who is neither has a key
    return from_where(request, "key", actor.key_id)


def by_session(request: Request, member_id: UUID, session_id: UUID | None) -> Origin:
    """Say that a member acts, by one of its sessions."""
    return from_where(request, "member", member_id, None if session_id is None else ("session", session_id))


def from_where(request: Request, actor_type: str, actor_id: UUID, credential: tuple[str, UUID] | None = None) -> Origin:
    """Add to an actor from where it came: the client's address (past the trusted proxies), its program, the request."""
    agent = request.headers.get("user-agent", "")[:USER_AGENT_LENGTH_MAX]
    return Origin(
        actor_type,
        actor_id,
        request_id=request.scope.get("request_id", ""),
        address=request.client.host if request.client else None,
        credential=credential,
        user_agent=(agent if agent.isprintable() else ascii(agent)[1:-1]) or None,
    )
