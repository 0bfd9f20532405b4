"""`python -m api`: serve HTTP."""

from core import garbage

garbage.hold()

import uvicorn  # noqa: E402  # after `hold`, as all below

from api.app import create_app  # noqa: E402
from core import metrics  # noqa: E402
from core.logging import configure  # noqa: E402
from core.settings import get_settings  # noqa: E402

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
