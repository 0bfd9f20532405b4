"""/metrics: figures on a port of its own, with templates and never ids as labels."""

import httpx2
from fastapi import FastAPI

from core import metrics
from core.settings import Settings
from tests.conftest import TestAgency, client_of, free_port


async def test_answers_are_counted_by_template(app: FastAPI, agency: TestAgency, settings: Settings) -> None:
    port = free_port()
    metrics.serve(settings.model_copy(update={"metrics_port": port}))
    async with client_of(app, agency.key) as client, httpx2.AsyncClient() as scraper:
        await client.get("/v1/workspaces/wsp_01kazm3v9sfa4t2tq9gk1x7c5e")
        text = (await scraper.get(f"http://127.0.0.1:{port}/metrics")).text
    assert 'route="/v1/workspaces/{workspace_id}",status="4xx"' in text
    assert "wsp_01" not in text
