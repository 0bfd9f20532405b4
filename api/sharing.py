"""Who holds a share link: what the operations of /v1 and the page answer alike."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.rate_limits import RateLimits
from core.db import Bare, Tenant
from core.errors import Missing
from tenants.sharing.service import find_media
from tenants.sharing.tokens import PresentedLink, read_token

Found = TypeVar("Found")
UNLISTED = {"X-Robots-Tag": "noindex, nofollow, noarchive", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
"""Of each answer to somebody without an account."""


def present(request: Request, text: str) -> PresentedLink:
    """Read a token, and count the request. Raises Missing, TooManyRequests."""
    limits: RateLimits = request.app.state.rate_limits
    limits.let_strangers(request.scope)
    try:
        presented = read_token(text)
    except Missing:
        limits.refuse(request.scope)
        raise
    limits.admit_link(request.scope, presented.hash)
    return presented


async def ask(request: Request, presented: PresentedLink, look: Callable[[Bare, PresentedLink], Awaitable[Found]]) -> Found:
    """Look at a link in a transaction of its agency. Dead ones count as wrong keys do. Raises Missing, TooManyRequests."""
    try:
        async with request.app.state.database.connection(Tenant(presented.agency_id)) as db:
            return await look(db, presented)
    except Missing:
        request.app.state.rate_limits.refuse(request.scope)
        raise


async def send_file(request: Request, presented: PresentedLink, version_id: UUID, disposition: str) -> Response:
    """Send a file of what a link shows, which was opened before. Raises Missing, TooManyRequests."""
    version = await ask(request, presented, lambda db, link: find_media(db, link, version_id))
    pieces = await request.app.state.store.stream(version["storage_key"])
    headers = UNLISTED | {
        "Content-Length": str(version["size_bytes"]),
        "Content-Disposition": disposition,
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StreamingResponse(pieces, media_type=version["content_type"], headers=headers)
