"""The transport: which broker a URL means, and the actors that carry batches of duties.

Nothing durable lives in a broker: a message is a hint that names leased rows. Losing one costs the rest of a lease, getting
one twice costs nothing, because starting a batch moves the fences. So there are no retries, no delays and no age limits.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import dramatiq

from core.duties import Claimed
from workers.kinds import QUEUES

log = logging.getLogger("octavo.broker")
Wire = list[list[Any]]
"""A batch on the wire: [agency, subject, fence] per duty; UUIDs as text."""
POLL_MS = 50
"""How often an idle Redis consumer asks; Dramatiq's default of 1 s would be the lateness of every post."""
WOKEN_MS = 1_000
"""The same for PostgreSQL and RabbitMQ, which wake their consumers themselves: six of them asking all the time cost a tenth."""
SEND_DEADLINE_S = 5


def make_broker(url: str) -> dramatiq.Broker:
    """Make the broker that `url` names: postgresql://, redis:// or amqp:// (with publisher confirms).

    None has middleware: nothing is retried or aged, and the event loop that actors run on is `workers.runtime`'s. Each library
    is imported only where it is used: together they are forty megabytes in every process.
    """
    scheme = urlsplit(url).scheme
    broker: dramatiq.Broker
    if scheme in {"postgresql", "postgres"}:
        from dramatiq_postgres import PostgresBroker

        broker = PostgresBroker(url=url, results=False, poll_interval=1.0, middleware=[])
    elif scheme in {"redis", "rediss"}:
        from dramatiq.brokers.redis import RedisBroker

        broker = RedisBroker(url=url, middleware=[], namespace="octavo")
    elif scheme in {"amqp", "amqps"}:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        broker = RabbitmqBroker(url=url, confirm_delivery=True, middleware=[])
    else:
        raise SystemExit("OCTAVO_BROKER_URL begins with postgresql://, redis:// or amqp://")
    return broker


def wait_ms(url: str) -> int:
    """How long an idle consumer of `url`'s broker waits before it looks again."""
    return POLL_MS if urlsplit(url).scheme in {"redis", "rediss"} else WOKEN_MS


def write_batch(claimed: Sequence[Claimed]) -> Wire:
    """Put claimed duties on the wire."""
    return [[str(row.agency_id), str(row.subject_id), row.fence] for row in claimed]


def read_batch(rows: Wire) -> list[Claimed]:
    """Take them off again."""
    return [Claimed(UUID(agency), UUID(subject), fence) for agency, subject, fence in rows]


Run = Callable[[str, list[Claimed]], Awaitable[None]]


def declare_all(broker: dramatiq.Broker, run: Run) -> dict[str, "dramatiq.Actor[[Wire], Any]"]:
    """Declare the actor of every kind of duty; its messages are given to `run`."""
    return {kind: _declare(broker, kind, queue, run) for kind, queue in QUEUES.items()}


def _declare(broker: dramatiq.Broker, kind: str, queue: str, run: Run) -> "dramatiq.Actor[[Wire], Any]":
    async def work(rows: Wire) -> None:
        await run(kind, read_batch(rows))

    return dramatiq.Actor(work, broker=broker, actor_name=kind, queue_name=queue, priority=0, options={})
