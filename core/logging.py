"""Structured logs. Only fields on the allow-list are written, so a secret under a new name does not leak."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

from core.settings import Settings

# structlog imports rich wherever it is (development tools bring it), for tracebacks that are never drawn here: see `_frames`.
# That is a fifth of a second of every start (measured), so rich is hidden for as long as structlog looks for it.
_modules: Any = sys.modules
_modules.setdefault("rich", None)  # the import system's word for "not there"
import structlog  # noqa: E402  # after it

if _modules["rich"] is None:
    del _modules["rich"]

FIELDS = frozenset(
    {
        "account_id", "agency_id", "attempt", "batch", "broker", "code", "count", "duration_ms", "error", "event", "fence",
        "kind", "lateness_ms", "level", "logger", "method", "network", "outcome", "port", "process", "publication_id",
        "queue", "reason", "request_id", "route", "state", "status", "step", "timestamp", "worker", "workspace_id",
        "exception",
    }
)  # fmt: skip
"""What may stand in a log line. Values are ids, counts, codes and class names; never content, tokens or names."""
FRAMES_MAX = 12
CAUSES_MAX = 4
QUIET = ("asyncio", "aiohttp", "sqlalchemy.engine", "psycopg.pool", "pika", "multipart", "python_multipart")


def _allow(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value for name, value in entry.items() if name in FIELDS}


def _frames(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write an exception as its class and where it came from: its text may quote what a caller sent."""
    found = entry.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    lines = []
    while isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
        where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        lines.append(f"{type(error).__module__}.{type(error).__name__} at {where}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if lines:
        entry["exception"] = " | ".join(lines[:CAUSES_MAX])
    return entry


def _escape(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event = entry.get("event")
    if isinstance(event, str):
        entry["event"] = event.encode("unicode_escape").decode() if not event.isprintable() else event
    return entry


def configure(settings: Settings) -> None:
    """Send the standard library's logging through structlog to standard output, once per process."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _frames,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _allow, _escape, renderer],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
