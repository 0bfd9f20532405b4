"""Figures for Prometheus, served on their own port on loopback. Labels are networks, states and route templates: never ids.

Where no port is set nobody can ask, so nothing is counted, and the library is not even imported.
"""

from typing import Any

from core.settings import Settings

_figures: dict[str, Any] = {}
"""Empty while nobody can ask."""


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer."""
    if _figures:
        _figures["requests"].labels(method, route, f"{status // 100}xx").observe(seconds)


def delivered(network: str, state: str, lateness_s: float | None) -> None:
    """Count what became of one publication."""
    if _figures:
        _figures["deliveries"].labels(network, state).inc()
    if _figures and lateness_s is not None:
        _figures["lateness"].labels(network).observe(max(lateness_s, 0.0))


def claimed(kind: str, count: int) -> None:
    """Count duties that were leased."""
    if _figures:
        _figures["claimed"].labels(kind).inc(count)


def serve(settings: Settings) -> None:
    """Count from here on, and serve /metrics, if a port is set; each process wants its own."""
    if not settings.metrics_port:
        return
    from prometheus_client import Counter, Histogram, start_http_server

    _figures["requests"] = Histogram(
        "octavo_http_seconds",
        "Time to the first byte of an answer.",
        ("method", "route", "status"),
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    )
    _figures["lateness"] = Histogram(
        "octavo_publication_lateness_seconds",
        "Published minus due.",
        ("network",),
        buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 21600),
    )
    _figures["deliveries"] = Counter("octavo_deliveries_total", "What publications became.", ("network", "state"))
    _figures["claimed"] = Counter("octavo_duties_claimed_total", "Duties that a scheduler or a worker leased.", ("kind",))
    start_http_server(settings.metrics_port, addr="127.0.0.1")
