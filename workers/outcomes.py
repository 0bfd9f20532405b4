"""Naming of outcomes: what a connector raised or answered becomes an event of `tenants.posts.states`.

Exactly four for the one call: accepted, refused, not sent, ambiguous. Whatever is not understood is ambiguous.
"""

import asyncio
import logging
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any

from networks.base import (
    Absent,
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
from tenants.posts import states
from tenants.posts.states import Actor, problem

log = logging.getLogger("octavo.publishing")
STEP_DEADLINE_S = 60.0
"""Longest time of one repeatable step: an upload of the largest image over a slow line."""


def error_of(error: NetworkError, actor: Actor, *, retryable: bool, maybe: bool = False) -> dict[str, Any]:
    """Show a network's error: our class and prose, and the network's own code beside it."""
    network = {"code": error.raw_code, "http_status": error.http_status, "request_id": error.request_id}
    return problem(error.error_code, error.detail, actor, retryable=retryable, maybe=maybe, network=network)


def refusal(error: Refused) -> states.Refused:
    """Name a refusal: the network proved that nothing was done."""
    if isinstance(error, Unauthorized):
        return states.Refused("unauthorized", error_of(error, "agency", retryable=False))
    if isinstance(error, Expired):
        return states.Refused("expired", error_of(error, "octavo", retryable=True))
    if isinstance(error, Forbidden):
        return states.Refused("forbidden", error_of(error, "agency", retryable=False))
    if isinstance(error, RateLimited):
        return states.Refused("rate_limited", error_of(error, "network", retryable=True), error.until)
    return states.Refused("rejected", error_of(error, "client", retryable=False))


async def after_call(call: Awaitable[Receipt], spread: float) -> Any:
    """Make the one call and name what came of it."""
    try:
        receipt = await call
    except Duplicate as error:
        return states.Ambiguous(error_of(error, "network", retryable=False, maybe=True))
    except Refused as error:
        return refusal(error)
    except Unavailable as error:
        return states.NotSent(error_of(error, "network", retryable=True), spread)
    except NetworkError as error:
        return states.Ambiguous(error_of(error, "network", retryable=False, maybe=True))
    except Exception as error:
        # A defect of ours after the request may have gone out: as unknown as a cut connection.
        log.exception("connector failed in its call")
        return states.Ambiguous(
            problem("connector_failed", f"{type(error).__name__} in the call.", "octavo", retryable=False, maybe=True)
        )
    return states.Accepted(receipt.external_id, receipt.external_url)


async def after_step(step: Awaitable[Any], spread: float, done: Any) -> Any:
    """Do a repeatable step and name its failure; `done` when it worked."""
    try:
        async with asyncio.timeout(STEP_DEADLINE_S):
            await step
    except Refused as error:
        return refusal(error)
    except NetworkError as error:
        return states.NotSent(error_of(error, "network", retryable=True), spread)
    except TimeoutError:
        return states.NotSent(problem("network_unavailable", "A step took too long.", "network", retryable=True), spread)
    except Exception as error:
        log.exception("connector failed in a step")
        return states.NotSent(problem("connector_failed", f"{type(error).__name__} in a step.", "octavo", retryable=True), spread)
    return done


async def after_look(look: Awaitable[Reconciled], settled_at: datetime, deadline: timedelta) -> Any:
    """Look at the network and name what was seen. An error proves nothing."""
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            seen = await look
    except RateLimited as error:
        return states.SeenNothing("rate limited", error.until)
    except NetworkError as error:
        return states.SeenNothing(error.error_code)
    except TimeoutError:
        return states.SeenNothing("timeout")
    except Exception:
        log.exception("connector failed in a look")
        return states.SeenNothing("connector failed")
    if isinstance(seen, Found):
        return states.SeenThere(seen.receipt.external_id, seen.receipt.external_url, seen.evidence)
    if isinstance(seen, Absent):
        return states.SeenAbsent(seen.evidence, settled_at)
    return states.SeenNothing(seen.evidence)
