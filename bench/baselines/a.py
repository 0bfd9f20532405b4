"""A-read and A-write: Starlette, asyncpg, orjson. No authentication, no row-level security, no transaction of its own."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg
import orjson
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.baselines.wire import instant, next_cursor, publication, typeid

POSTS = """select id, workspace_id, state, version, text, media, due_at, local_at, time_zone, external_ref, duplicate_policy,
  details, created_at, updated_at from posts where agency_id = $1 and workspace_id = $2 order by id desc limit $3"""
PUBLICATIONS = """select id, post_id, account_id, network, state, due_at, next_at, attempts, block_reason, external_id,
  external_url, published_at, resolution, error from publications where agency_id = $1 and post_id = any($2::uuid[]) order by id"""
VARIANTS = """select post_id from variants where agency_id = $1 and post_id = any($2::uuid[])
  and (text is not null or media is not null or options <> '{}'::jsonb) order by id"""
INSERT = """insert into posts (agency_id, workspace_id, id, state, text, due_at, time_zone)
  values ($1, $2, uuidv7(), 'scheduled', $3, $4, 'UTC') returning id, created_at"""


class Wish(BaseModel):
    text: str = Field(max_length=5_000)
    account_id: str
    due_at: datetime


async def listed(request: Request) -> Response:
    agency, limit = UUID(request.path_params["agency"]), int(request.query_params["limit"])
    async with request.app.state.pool.acquire() as db:
        posts = await db.fetch(POSTS, agency, UUID(request.path_params["workspace"]), limit + 1)
        cursor = next_cursor(posts[limit - 1]["id"]) if len(posts) > limit else None
        ids, deliveries = [post["id"] for post in posts[:limit]], {}
        for row in await db.fetch(PUBLICATIONS, agency, ids):
            deliveries[row["post_id"]] = row
        if await db.fetch(VARIANTS, agency, ids):
            raise NotImplementedError("the seed has none")
    data = []
    for post in posts[:limit]:
        id, row = typeid("pst_", post["id"]), deliveries[post["id"]]
        data.append({
            "id": id, "workspace_id": typeid("wsp_", post["workspace_id"]), "state": post["state"], "delivery": row["state"],
            "version": post["version"], "text": post["text"], "media": orjson.loads(post["media"]), "variants": [],
            "schedule": {"at": instant(post["due_at"]), "local": post["local_at"], "time_zone": post["time_zone"]},
            "external_ref": post["external_ref"], "duplicate_policy": post["duplicate_policy"],
            "metadata": orjson.loads(post["details"]), "publications": [publication(row, id)],
            "allowed_actions": ["update", "schedule", "cancel", "archive", "delete"], "created_at": instant(post["created_at"]),
            "updated_at": instant(post["updated_at"]),
        })  # fmt: skip
    return Response(orjson.dumps({"data": data, "next_cursor": cursor}), media_type="application/json")


async def created(request: Request) -> Response:
    wish = Wish.model_validate_json(await request.body())
    place = UUID(request.path_params["agency"]), UUID(request.path_params["workspace"])
    row = await request.app.state.pool.fetchrow(INSERT, *place, wish.text, wish.due_at)
    body = {"id": typeid("pst_", row["id"]), "created_at": instant(row["created_at"])}
    return Response(orjson.dumps(body), status_code=201, media_type="application/json")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        os.environ["BENCH_DSN"], min_size=1, max_size=10, server_settings={"jit": "off"}
    ) as app.state.pool:
        yield


PATH = "/{agency}/{workspace}/posts"
app = Starlette(routes=[Route(PATH, listed), Route(PATH, created, methods=["POST"])], lifespan=lifespan)
