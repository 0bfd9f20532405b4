"""The two processes: `python -m workers worker` and `python -m workers scheduler`."""

import uvloop

from core import metrics
from core.logging import configure
from core.settings import get_settings


def main(role: str) -> None:
    """Start one of the two. Each imports only what it needs: the scheduler stays small."""
    settings = get_settings()
    configure(settings)
    metrics.serve(settings)
    uvloop.install()
    if role == "worker":
        from workers.worker import work

        work(settings)
    else:
        from workers.scheduler import schedule

        schedule(settings)
