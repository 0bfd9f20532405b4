"""Health: /livez says that the process answers; /readyz says that work gets done."""

from datetime import timedelta
from typing import Any

import asyncpg
import orjson
from fastapi import APIRouter, FastAPI, Request, Response

from core.clock import now
from core.duties import is_worked_on, oldest_due
from core.ids import encode
from core.pool import open_pool
from core.wire import write_instant

router = APIRouter(include_in_schema=False)
HEARTBEATS_MISSED_MAX = 4
LATE = timedelta(seconds=60)
"""A publication this late, with nobody at work on any, says that none is done."""


async def _pool(app: FastAPI) -> asyncpg.Pool:
    if not hasattr(app.state, "health_pool"):
        app.state.health_pool = await open_pool(app.state.settings.worker_url, app.state.settings, size=1)
    pool: asyncpg.Pool = app.state.health_pool
    return pool


async def close(app: FastAPI) -> None:
    """Close the pool of the checks."""
    if hasattr(app.state, "health_pool"):
        await app.state.health_pool.close()


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Work gets done: database, migrations at head, and a heartbeat duty that a worker finished lately."""
    from migrations.run import head

    checks: dict[str, Any] = {}
    try:
        pool = await _pool(request.app)
        async with pool.acquire() as db:
            checks["database"] = {"ok": True}
            revision = await db.fetchval("select version_num from alembic_version")
            checks["migrations"] = {"ok": revision == head(), "at": revision, "expected": head()}
            checks["workers"] = await _workers(request, db)
            checks["publishing"] = await _publishing(db)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        checks["database"] = {"ok": False, "error": type(error).__name__}
    ready = all(check["ok"] for check in checks.values())
    body = {"status": "ready" if ready else "not_ready", "checks": checks}
    return Response(orjson.dumps(body), status_code=200 if ready else 503, media_type="application/json")


async def _workers(request: Request, db: asyncpg.Connection) -> dict[str, Any]:
    settings = request.app.state.settings
    beat = await db.fetchval("select finished_at from heartbeats where kind = 'heartbeat'")
    if beat is None:
        return {"ok": False, "last_heartbeat_at": None, "detail": "No worker has finished a heartbeat yet."}
    age_s = (now() - beat).total_seconds()
    return {"ok": age_s <= settings.heartbeat_s * HEARTBEATS_MISSED_MAX, "last_heartbeat_at": write_instant(beat)}


async def _publishing(db: asyncpg.Connection) -> dict[str, Any]:
    late = await oldest_due(db, "publish")
    if late is None:
        return {"ok": True, "oldest_due": None}
    named = {"publication": encode("pub", late.subject_id), "due_at": write_instant(late.due_at)}
    # Late and worked on is a queue, of one slow account perhaps: a fresh start or fewer servers would not make it shorter.
    return {"ok": now() - late.due_at < LATE or await is_worked_on(db, "publish"), "oldest_due": named}
