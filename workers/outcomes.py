"""Naming of outcomes: what a connector raised or answered becomes an event of `tenants.posts.states`.

Exactly four for the one call: accepted, refused, not sent, ambiguous. Whatever is not understood is ambiguous.
"""

import asyncio
import logging
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

from networks.base import (
    Absent,
    Capabilities,
    Duplicate,
    Expired,
    Forbidden,
    Found,
    NetworkError,
    RateLimited,
    Receipt,
    Reconciled,
    Refused,
    Unauthorized,
    Unavailable,
)
from tenants.posts import moves
from tenants.posts.states import Actor, problem

log = logging.getLogger("octavo.publishing")


def error_of(error: NetworkError, actor: Actor, *, retryable: bool, maybe: bool = False) -> dict[str, Any]:
    """Show a network's error: our class and prose, and the network's own code beside it."""
    network = {"code": error.raw_code, "http_status": error.http_status, "request_id": error.request_id}
    return problem(error.error_code, error.detail, actor, retryable=retryable, maybe=maybe, network=network)


def refusal(error: Refused, spread: float) -> moves.Refused:
    """Name a refusal: the network proved that nothing was done."""
    if isinstance(error, Unauthorized):
        return moves.Refused("unauthorized", error_of(error, "agency", retryable=False))
    if isinstance(error, Expired):
        return moves.Refused("expired", error_of(error, "octavo", retryable=True), spread=spread)
    if isinstance(error, Forbidden):
        return moves.Refused("forbidden", error_of(error, "agency", retryable=False))
    if isinstance(error, RateLimited):
        return moves.Refused("rate_limited", error_of(error, "network", retryable=True), error.until, spread)
    return moves.Refused("rejected", error_of(error, "client", retryable=False))


async def after_call(call: Awaitable[Receipt], spread: float) -> Any:
    """Make the one call and name what came of it."""
    try:
        receipt = await call
    except Duplicate as error:
        return moves.Ambiguous(error_of(error, "network", retryable=False, maybe=True))
    except Refused as error:
        return refusal(error, spread)
    except Unavailable as error:
        return moves.NotSent(error_of(error, "network", retryable=True), spread)
    except NetworkError as error:
        return moves.Ambiguous(error_of(error, "network", retryable=False, maybe=True))
    except Exception as error:
        # A defect of ours after the request may have gone out: as unknown as a cut connection.
        log.exception("connector failed in its call")
        return moves.Ambiguous(
            problem("connector_failed", f"{type(error).__name__} in the call.", "octavo", retryable=False, maybe=True)
        )
    return moves.Accepted(receipt.external_id, receipt.external_url)


async def after_step(step: Awaitable[Any], deadline_s: float, spread: float, done: Any) -> Any:
    """Do a repeatable step and name its failure; `done` when it worked."""
    try:
        async with asyncio.timeout(deadline_s):
            await step
    except Refused as error:
        return refusal(error, spread)
    except NetworkError as error:
        return moves.NotSent(error_of(error, "network", retryable=True), spread)
    except TimeoutError:
        return moves.NotSent(problem("network_unavailable", "A step took too long.", "network", retryable=True), spread)
    except Exception as error:
        log.exception("connector failed in a step")
        return moves.NotSent(problem("connector_failed", f"{type(error).__name__} in a step.", "octavo", retryable=True), spread)
    return done


async def after_look(look: Awaitable[Reconciled], looked_at: datetime, capabilities: Capabilities) -> Any:
    """Look at the network and name what was seen; `looked_at` is the database's time before. An error proves nothing."""
    try:
        async with asyncio.timeout(capabilities.call_deadline.total_seconds()):
            seen = await look
    except RateLimited as error:
        return moves.SeenNothing("rate limited", error.until)
    except NetworkError as error:
        return moves.SeenNothing(error.error_code, expired=isinstance(error, Expired))
    except TimeoutError:
        return moves.SeenNothing("timeout")
    except Exception:
        log.exception("connector failed in a look")
        return moves.SeenNothing("connector failed")
    if isinstance(seen, Found):
        return moves.SeenThere(seen.receipt.external_id, seen.receipt.external_url, seen.evidence)
    if isinstance(seen, Absent):
        return moves.SeenAbsent(seen.evidence, looked_at, capabilities.settle)
    return moves.SeenNothing(seen.evidence)
