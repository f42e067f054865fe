"""What the service counts for Prometheus, at /metrics; workers are added up.

BentoML's own figures are off: they have a label with the path as it was asked for, so that they would name clients to
whoever reads them, and grow with every id, and with every path that a stranger makes up.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sheaf.serving.decisions import Outcome
from sheaf.serving.runtime.shared_metrics import SharedCollector

PATH = "/metrics"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_requests = Histogram("sheaf_request_seconds", "Seconds of a request.", ["route", "status"], buckets=SECONDS)
_offers = Counter("sheaf_offers", "Offers that answers had.", ["bundle_id"])
_feedback = Counter("sheaf_feedback", "What became of offers.", ["bundle_id", "outcome"])
_turned_away = Counter("sheaf_turned_away", "Requests refused unread: more was asked than could be answered.")
_closed = Counter("sheaf_connections_closed", "Connections closed early, which held no whole request.", ["reason"])
_profiles = Gauge("sheaf_profiles_timestamp_seconds", "The day of the profiles.", multiprocess_mode="livemin")
_serving = Gauge("sheaf_serving_info", "1 for what answers.", ["model", "catalog"], multiprocess_mode="livemax")
_refreshes = Counter("sheaf_refresh", "What was laid out anew: taken or refused.", ["outcome"])
_before: list[tuple[str, str]] = []


def request(route: str, status: int, seconds: float) -> None:
    _requests.labels(route, str(status)).observe(seconds)


def turned_away() -> None:
    _turned_away.inc()


def connection_closed(reason: str) -> None:
    _closed.labels(reason).inc()


def offers(bundle_ids: Iterable[str]) -> None:
    for bundle_id in bundle_ids:
        _offers.labels(bundle_id).inc()


def feedback(bundle_id: str, outcome: Outcome) -> None:
    _feedback.labels(bundle_id, outcome.value).inc()


def serving(model: str, catalog: str, profile_day: dt.date) -> None:
    """What this worker answers with from now on."""
    while _before:  # labels cannot be taken back where several processes count
        _serving.labels(*_before.pop()).set(0)
    _serving.labels(model, catalog).set(1)
    _before.append((model, catalog))
    _profiles.set(dt.datetime.combine(profile_day, dt.time(), dt.UTC).timestamp())


def refresh(taken: bool) -> None:
    """What was laid out anew was taken up by this worker, or refused."""
    _refreshes.labels("taken" if taken else "refused").inc()


def figures() -> bytes:
    """All that all workers have counted, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(SharedCollector())
    return generate_latest(registry)
