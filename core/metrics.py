"""Figures for Prometheus, served on their own port on loopback. Labels are networks, states and route templates: never ids."""

from prometheus_client import Counter, Histogram, start_http_server

from core.settings import Settings

REQUESTS = Histogram(
    "octavo_http_seconds",
    "Time to the first byte of an answer.",
    ("method", "route", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LATENESS = Histogram(
    "octavo_publication_lateness_seconds",
    "Published minus due.",
    ("network",),
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 21600),
)
DELIVERIES = Counter("octavo_deliveries_total", "What publications became.", ("network", "state"))
CLAIMED = Counter("octavo_duties_claimed_total", "Duties that a scheduler or a worker leased.", ("kind",))


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer."""
    REQUESTS.labels(method, route, f"{status // 100}xx").observe(seconds)


def delivered(network: str, state: str, lateness_s: float | None) -> None:
    """Count what became of one publication."""
    DELIVERIES.labels(network, state).inc()
    if lateness_s is not None:
        LATENESS.labels(network).observe(max(lateness_s, 0.0))


def serve(settings: Settings) -> None:
    """Serve /metrics if a port is set; each process wants its own."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
