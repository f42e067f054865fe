"""Who is let in when more is asked than can be answered: as many as are answered soon.

A burst or a stall leaves a queue that goes by itself, and nobody is refused for it. A queue that stands does not go:
more is asked than can be answered, everybody waits for everybody before, and to let in more helps nobody. So only one
is worked on, beside those whom the log writes meanwhile, until no more come than were answered before, or there is
little to do, or few are refused. Answers that wait for a slow log do not wait for each other: they are no queue. Who is
refused is told at once, before anything of the request is looked at, and may ask another. So is whoever comes while the
service ends: it takes no more, and goes once all that it took is done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from sheaf.serving.http import logs
from sheaf.serving.http.problems import Refusal, problem
from sheaf.serving.http.raw_paths import path_by_segments
from sheaf.serving.runtime import metrics
from sheaf.serving.settings import Settings, settings

WAIT: float = Settings.model_fields["wait_seconds"].default  # that answers take in the mean where a queue stands
WINDOW = 0.5  # seconds that are looked at together
STANDS = 6  # windows in a row with a queue: what a stall left is gone by then, as long as no more come than go
HASTE = 3  # windows that one counts for in which clearly more came than were answered before: such a queue does not go
CLEARLY = 1.1  # times the most that were answered in a window
MANY = 128  # under way where no queue stands, beside those who wait for the log, whose writer has bounds of its own
BUSY, IDLE = 0.9, 0.5  # of a window: with less to do than that, a queue does not begin, or is gone
ALONE = 0.5  # of those who are answered together, who are worked on one at a time
REFUSED = 1 / 3  # of those who come, at most, can be answered too once all are let in
FADES = 0.99  # in a window: how many could be answered once is forgotten, in a minute about
OF_LOG = 0.25  # of `WAIT`: where a transaction of the log takes longer in the mean, answers wait for it
BATCHES = 4  # at once: of 1,000 clients each they are done within the ten seconds that a request has
ENDS = 10.0  # seconds that what was taken may last
CROWDED = "more is asked than can be answered soon; ask again in a second"
FULL = f"{BATCHES} batches are under way; ask again in a second"
ENDING = "this service ends; ask again in a second, over another connection"
_log = logging.getLogger("sheaf.serving")
Clock = Callable[[], float]
Logged = Callable[[], tuple[int, float]]
"""How many transactions the log has made, and the seconds that they took together."""


class LoadShedder:
    """Of one event loop."""

    def __init__(self, wait: float = WAIT, log: Logged = lambda: (0, 0.0), clock: Clock = time.monotonic):
        """A queue stands where answers take longer than `wait` seconds in the mean of windows without a pause, and the
        log is not slow."""
        self.wait, self.most, self.ending, self._log, self._clock = wait, MANY, False, log, clock
        self._logged = log()
        self.taken = self.under_way = self.batches = 0  # what is not done yet, what of it is worked on, and batches
        self._of_log = 0  # of those under way: who wait for the log
        self._stood = 0  # windows in a row with a queue
        self._highest = 0.0  # answers a second that there were in a window
        self._since = 0.0  # there has been something under way
        self._begin(clock())

    def _begin(self, now: float) -> None:
        """A window: the seconds with something under way, how many were answered, and in how long; who came, and who of
        them were refused."""
        self._began, self._busy, self._took = now, 0.0, 0.0
        self._answered = self._came = self._refused = 0

    @classmethod
    def configured(cls, log: Logged = lambda: (0, 0.0)) -> LoadShedder:
        """By the setting `wait_seconds`. Raises SettingError."""
        return cls(settings().wait_seconds, log)

    def refuses(self) -> str | None:
        """Why who comes now is refused; None: they are let in."""
        now = self._clock()
        if now - self._began >= WINDOW:
            self._look(now)
        if self.ending:
            return ENDING
        refused = self.under_way - (0 if self.crowded else self._of_log) >= self.most
        self._came, self._refused = self._came + 1, self._refused + refused
        return CROWDED if refused else None

    @property
    def crowded(self) -> bool:
        """Whether a queue stands."""
        return self.most < MANY

    async def end(self, then: Callable[[], None]) -> None:
        """Lets nobody in any more, and calls `then` once all that was taken is done, after `ENDS` at the latest."""
        self.ending, until = True, self._clock() + ENDS
        while self.taken and self._clock() < until:
            await asyncio.sleep(0.05)
        then()

    @contextmanager
    def working(self) -> Iterator[None]:
        """While one is worked on: not while its body is still on the way, which holds nobody up."""
        started = self._clock()
        if not self.under_way:
            self._since = started
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
            now = self._clock()
            self._answered += 1
            self._took += now - started
            if not self.under_way:
                self._busy += now - self._since

    @contextmanager
    def of_log(self) -> Iterator[None]:
        """While what is worked on waits for the log: all who do go on together, so that they hold nobody up."""
        self._of_log += 1
        try:
            yield
        finally:
            self._of_log -= 1

    @contextmanager
    def batch(self) -> Iterator[None]:
        """While a batch is worked on, beside everything else. Raises Refusal where there are enough."""
        if self.batches >= BATCHES:
            raise Refusal(503, FULL, headers={"retry-after": "1"})
        self.batches += 1
        try:
            yield
        finally:
            self.batches -= 1

    def _look(self, now: float) -> None:
        """Draws the conclusion of a window, and begins the next."""
        if self.under_way:
            self._busy, self._since = self._busy + now - self._since, now
        lasted, before = now - self._began, self.crowded
        busy, mean, rate = self._busy / lasted, self._took / max(self._answered, 1), self._answered / lasted
        (count, seconds), (logged, of_logged) = self._log(), self._logged
        log, self._logged = (seconds - of_logged) / max(count - logged, 1), (count, seconds)
        too_many = self._came > CLEARLY * lasted * self._highest
        if not before:
            self._highest = max(rate, FADES * self._highest)
        if log > OF_LOG * self.wait:
            self.most = MANY
        elif not before:
            self._stood = self._stood + (HASTE if too_many else 1) if busy > BUSY and mean > self.wait else 0
            if self._stood >= STANDS:
                self._stood = 0
                self.most = self._beside(log)
        elif self._came <= lasted * self._highest or busy <= IDLE or self._refused <= REFUSED * self._came:
            self.most = MANY
        else:  # the log is quicker than it was with a queue before it
            self.most = self._beside(log)
        if self.crowded != before:
            _log.warning("more is asked than can be answered soon" if self.crowded else "all are answered again")
        self._begin(now)

    def _beside(self, log: float) -> int:
        """One, and as many as the log writes meanwhile, by Little's law, where it takes so long for a transaction."""
        return min(1 + int(log * ALONE * self._highest), MANY // 2)


class LoadSheddingMiddleware:
    """An app under /v1 that only those get to whom the `admission` of the moment lets in."""

    def __init__(self, app: ASGIApp, admission: Callable[[], LoadShedder]):
        self.app, self.admission = app, admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            return await self.app(scope, receive, send)
        scope["path"] = path_by_segments(scope)
        admission, headers = self.admission(), {}
        if why := admission.refuses():
            metrics.turned_away()
            status, headers = 503, {"retry-after": "1"} | ({"connection": "close"} if admission.ending else {})
        else:
            admission.taken += 1
            try:
                return await self.app(scope, receive, send)
            finally:
                admission.taken -= 1
        request_id = logs.request_id(scope)
        answer = problem(status, why, headers=headers | {logs.HEADER: request_id}, request_id=request_id)
        await answer(scope, receive, send)
