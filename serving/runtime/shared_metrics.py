"""Figures of all workers, in memory that they share: no disk, full or gone, stands between a caller and an answer.

The files that `prometheus_client` maps instead kill the process that writes to them on a full disk (SIGBUS), and
BentoML keeps those of all services of a user in one folder.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

MOST = 16_384  # figures a worker: a histogram has some 14 for each route and status
TEXTS = 4 << 20  # bytes of their names; memory is taken once it is written to


class Slot:
    """One worker's figures: their number, their values, and their names, a line of JSON each, in the same order.

    A name is written before it counts, and a value is written at once: others read meanwhile. What there is no room
    for is not counted.
    """

    def __init__(self, most: int = MOST, texts: int = TEXTS) -> None:
        self._memory = mmap.mmap(-1, 8 * (most + 1) + texts)  # anonymous and shared with whoever is forked from here
        self._values = memoryview(self._memory)[: 8 * (most + 1)].cast("d")
        self._texts = memoryview(self._memory)[8 * (most + 1) :]
        self._places: dict[str, int] = {}
        self._end = 0

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """The name of each figure and its place."""
        start = 0
        for place in range(1, int(self._values[0]) + 1):
            length = int.from_bytes(self._texts[start : start + 4], "little")
            yield str(self._texts[start + 4 : start + 4 + length], "utf-8"), place
            start += 4 + length

    def resume(self) -> None:
        """Goes on where a worker that ended left off."""
        self._places = dict(self)
        self._end = sum(4 + len(name.encode()) for name in self._places)

    def place(self, name: str, first: float) -> int | None:
        """Where the figure of this name is, which is new with the value `first`; None where there is no room."""
        if (known := self._places.get(name)) is not None:
            return known
        text, place = name.encode(), int(self._values[0]) + 1
        end = self._end + 4 + len(text)
        if place >= len(self._values) or end > len(self._texts):
            return None
        self._texts[self._end : end] = len(text).to_bytes(4, "little") + text
        self._values[place] = first
        self._values[0] = place
        self._places[name], self._end = place, end
        return place

    def __getitem__(self, place: int) -> float:
        return self._values[place]

    def __setitem__(self, place: int, value: float) -> None:
        self._values[place] = value


_slots = [Slot()]
_mine = _slots[0]
_early: list[SharedValue] = []  # figures made before this process had a slot that others see
_taken = False
_lock = Lock()


def share(workers: int) -> None:
    """Makes a slot for each of so many workers, which are to be forked from this process."""
    _slots[:] = [Slot() for _ in range(workers)]


def take(number: int) -> None:
    """Counts in this slot from now on, on top of what a worker before counted there."""
    global _mine, _taken
    _slots[number].resume()
    _mine = _slots[number]
    for value in _early:  # so that they are told from the beginning, as 0
        value.bind()
    _early.clear()
    _taken = True


def gone(number: int) -> None:
    """The worker of this slot has no say in what is so now; what it counted stays."""
    slot = _slots[number]
    for name, place in slot:
        if json.loads(name)[0] == "gauge":
            slot[place] = math.nan


class SharedValue:
    """A number of a metric of `prometheus_client`, in the slot of this process."""

    _multiprocess = True

    def __init__(
        self, typ: str, metric_name: str, name: str, labelnames: Sequence[str], labelvalues: Sequence[str],
        help_text: str, multiprocess_mode: str = "", **_: Any,
    ) -> None:  # fmt: skip
        labels = dict(zip(labelnames, labelvalues, strict=True))
        self._name = json.dumps([typ, multiprocess_mode, metric_name, help_text, name, labels])
        self._first = math.nan if typ == "gauge" else 0.0  # what nobody set is not so
        with _lock:
            self.bind()
            if not _taken:
                _early.append(self)

    def bind(self) -> None:
        self._slot, self._place = _mine, _mine.place(self._name, self._first)

    def inc(self, amount: float) -> None:
        with _lock:
            if self._place is not None:
                self._slot[self._place] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        with _lock:
            if self._place is not None:
                self._slot[self._place] = value

    def get(self) -> float:
        return self._first if self._place is None else self._slot[self._place]

    def set_exemplar(self, exemplar: object) -> None: ...

    def get_exemplar(self) -> None: ...


values.ValueClass = SharedValue  # before the first metric is made, as the library asks for


class SharedCollector:
    """Adds up what all workers counted; of a gauge the least or the most, by its mode."""

    def collect(self) -> Iterator[Metric]:
        metrics: dict[str, Metric] = {}
        summed: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
        for slot in _slots:
            for text, place in slot:
                if math.isnan(value := slot[place]):
                    continue
                typ, mode, metric, help_text, name, labels = json.loads(text)
                metrics.setdefault(metric, Metric(metric, help_text, typ))
                key = metric, name, tuple(sorted(labels.items()))
                if key not in summed:
                    summed[key] = value
                else:
                    summed[key] = _MODES[mode](summed[key], value) if typ == "gauge" else summed[key] + value
        for (metric, name, labels), value in summed.items():
            metrics[metric].samples.append(Sample(name, dict(labels), value))
        for found in metrics.values():
            if found.type == "histogram":
                found.samples = list(_cumulative(found.samples))
            yield found


_MODES = {"livemin": min, "livemax": max}


def _cumulative(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Of a histogram, each bucket with those below it, and the count, as Prometheus reads it."""
    buckets: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        if "le" in sample.labels:
            of = tuple((name, value) for name, value in sample.labels.items() if name != "le")
            buckets.setdefault(of, []).append(sample)
        else:
            yield sample
    for of, found in buckets.items():
        total = 0.0
        for sample in sorted(found, key=lambda one: float(one.labels["le"])):
            total += sample.value
            yield Sample(sample.name, dict(of) | {"le": floatToGoString(sample.labels["le"])}, total)
        yield Sample(found[0].name.removesuffix("_bucket") + "_count", dict(of), total)
