"""Clients who are asked for at the same time with the same wishes are decided together, in one pass over the models.

A pass over several clients gives each the answer that it gets alone. Nobody waits for others: a pass takes up
whoever is ready when its turn in the event loop comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sheaf.catalog import Line
from sheaf.serving.engine.recommender import NOTHING_HIDDEN, Hidden, Recommender
from sheaf.serving.schemas.answers import Decided, Resting
from sheaf.training.value_order import Aim

Wish = tuple[int, tuple[Line, ...], Aim, str | None]
"""How many offers at most, of which lines, in which order, over which channel: what rests for a client goes by it."""


@dataclass
class _Pass:
    recommender: Recommender
    profiles: list[np.ndarray] = field(default_factory=list)
    client_ids: list[str | None] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    resting: dict[str, tuple[Resting, ...]] = field(default_factory=dict)
    decided: list[asyncio.Future[Decided]] = field(default_factory=list)


class MicroBatcher:
    """Of one event loop. What one of a pass cannot be answered for, none of it is: that lies in the wish or the
    catalog."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, Wish], _Pass] = {}

    async def decide(
        self,
        recommender: Recommender,
        profile: np.ndarray,
        client_id: str | None,
        k: int,
        lines: Sequence[Line],
        objective: Aim,
        channel: str | None,
        resting: dict[str, tuple[Resting, ...]],
        hidden: Hidden = NOTHING_HIDDEN,
    ) -> Decided:
        """The answer for a row as `Recommender.profile_of` gives it, made without hidden columns. Raises as
        `Recommender.decide` does."""
        loop, key = asyncio.get_running_loop(), (id(recommender), (k, tuple(lines), objective, channel))
        one = self._waiting.get(key)
        if one is None:
            one = self._waiting[key] = _Pass(recommender)
            loop.call_soon(self._run, key)
        one.profiles.append(profile)
        one.client_ids.append(client_id)
        one.hidden.append(hidden)
        for client, rests in resting.items():  # the same client may be asked for twice, with more known of it by then
            before = one.resting.get(client, ())
            one.resting[client] = (*before, *(rest for rest in rests if rest not in before))
        one.decided.append(future := loop.create_future())
        return await future

    def _run(self, key: tuple[int, Wish]) -> None:
        one, (k, lines, objective, _) = self._waiting.pop(key), key[1]
        profiles = one.profiles[0] if len(one.profiles) == 1 else np.concatenate(one.profiles)
        try:
            decided = one.recommender.answers(profiles, one.client_ids, k, lines, objective, one.resting, one.hidden)
        except Exception as error:
            for future in one.decided:
                if not future.done():  # who asked may be gone
                    future.set_exception(error)
            return
        for future, its in zip(one.decided, decided, strict=True):
            if not future.done():
                future.set_result(its)
