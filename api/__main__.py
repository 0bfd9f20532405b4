"""`python -m api`: serve HTTP."""

import uvicorn

from api.app import create_app
from core import garbage, metrics
from core.logging import configure
from core.settings import get_settings

settings = get_settings()
configure(settings)
metrics.serve(settings)
app = create_app(settings)
garbage.settle()
uvicorn.run(
    app,
    host=settings.host,
    port=settings.port,
    loop="uvloop",
    http="httptools",
    access_log=False,
    log_config=None,
    server_header=False,
    date_header=True,
    timeout_graceful_shutdown=int(settings.shutdown_s),
    proxy_headers=False,
)
