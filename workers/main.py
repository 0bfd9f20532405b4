"""The processes: `python -m workers worker`, `python -m workers scheduler`, and `python -m workers all` for both in one."""

import uvloop

from core import metrics
from core.logging import configure
from core.settings import get_settings


def main(role: str) -> None:
    """Start one of them. Each imports only what it needs: the scheduler stays small."""
    settings = get_settings()
    configure(settings)
    metrics.serve(settings)
    uvloop.install()
    if role == "scheduler":
        from workers.scheduler import schedule

        schedule(settings)
    else:
        from workers.worker import work

        work(settings, scheduling=role == "all")
