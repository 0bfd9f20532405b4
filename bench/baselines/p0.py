"""P0: one asyncio process that publishes what is due. Claims of 100 with SKIP LOCKED, 64 calls in flight, done in batches."""

import asyncio
import os
import signal
from typing import Any

import aiohttp
import asyncpg
import uvloop

BATCH, IN_FLIGHT, DONE_BATCH, POLL_S = 100, 64, 500, 0.05
CLAIM = """
with c as (select id from bench_due where status = 0 and due_at <= now() order by due_at, id limit $1 for update skip locked)
update bench_due b set status = 1, attempts = attempts + 1, locked_until = now() + interval '60 s' from c where b.id = c.id
returning b.id, b.profile, b.token, b.text
"""
DONE = """
update bench_due b set status = 2, remote_id = x.remote from unnest($1::bigint[], $2::text[]) x(id, remote) where b.id = x.id
"""


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = os.environ["BENCH_NETWORK_URL"] + "/posts"
    places, done = asyncio.Semaphore(IN_FLIGHT), asyncio.Queue[tuple[int, str]]()
    pool = await asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=2, max_size=4)
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT))

    async def publish(row: Any) -> None:
        wish = {"profile": row["profile"], "marker": f"p0-{row['id']}", "text": row["text"], "media": []}
        try:
            async with client.post(url, json=wish, headers={"Authorization": "Bearer " + row["token"]}) as answer:
                answer.raise_for_status()
                done.put_nowait((row["id"], (await answer.json())["id"]))
        finally:
            places.release()

    async def mark() -> None:
        while True:
            batch = [await done.get()]
            while not done.empty() and len(batch) < DONE_BATCH:
                batch.append(done.get_nowait())
            await pool.execute(DONE, [id for id, _ in batch], [remote for _, remote in batch])

    marking, calls = asyncio.create_task(mark()), set[asyncio.Task[None]]()
    while not stop.is_set():
        rows = await pool.fetch(CLAIM, BATCH)
        for row in rows:
            await places.acquire()
            calls.add(call := asyncio.create_task(publish(row)))
            call.add_done_callback(calls.discard)
        if not rows:
            await asyncio.sleep(POLL_S)
    await asyncio.gather(*calls)
    marking.cancel()
    await client.close()
    await pool.close()


if __name__ == "__main__":
    uvloop.run(main())
