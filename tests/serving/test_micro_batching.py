"""Who asks at the same time is answered in one pass, with what each would have been told alone."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import numpy as np
import pytest

from sheaf.catalog import Line
from sheaf.serving import Recommender
from sheaf.serving.engine.micro_batching import MicroBatcher
from sheaf.serving.schemas.answers import ANSWER, Decided, Resting
from sheaf.training.value_order import Aim
from tests.conftest import WholeLine

WISHES: list[tuple[int, list[Line], Aim]] = [
    (5, [], Aim.RELEVANCE),
    (5, [], Aim.VALUE),
    (2, [Line.RETAIL], Aim.RELEVANCE),
]


class Counting:
    """The recommender, and for how many clients each pass of it was."""

    def __init__(self, recommender: Recommender):
        self._recommender, self.passes = recommender, list[int]()

    def answers(self, values: np.ndarray, *args: Any) -> list[Decided]:
        self.passes.append(len(values))
        return self._recommender.answers(values, *args)


def test_everybody_is_told_what_they_would_have_been_told_alone(line: WholeLine) -> None:
    recommender, counting = line.recommender, Counting(line.recommender)
    clients = [str(client) for client in recommender.snapshot.profiles.client_ids[:40]]
    asked = [(client, WISHES[number % len(WISHES)]) for number, client in enumerate(clients)]

    async def ask() -> list[Decided]:
        together = MicroBatcher()
        return await asyncio.gather(
            *(
                together.decide(counting, recommender.profile_of(client), client, *wish, None, {})  # type: ignore[arg-type]
                for client, wish in asked
            )
        )

    for (client, wish), decided in zip(asked, asyncio.run(ask()), strict=True):
        assert ANSWER.dump_json(decided.answer) == ANSWER.dump_json(recommender.recommend(client, *wish))
    assert sorted(counting.passes) == [13, 13, 14]


def test_who_asks_over_two_channels_at_once_is_told_apart_what_rests_on_each(line: WholeLine) -> None:
    recommender = line.recommender
    client = str(recommender.snapshot.profiles.client_ids[0])
    first = recommender.recommend(client, 1).offers[0].bundle_id
    rests: dict[str, tuple[Resting, ...]] = {client: (Resting(first, dt.datetime(2030, 1, 1, tzinfo=dt.UTC), "rests"),)}

    async def ask() -> tuple[Decided, Decided]:
        together, row = MicroBatcher(), recommender.profile_of(client)
        return await asyncio.gather(
            together.decide(recommender, row, client, 1, [], Aim.RELEVANCE, "mobile", {}),
            together.decide(recommender, row, client, 1, [], Aim.RELEVANCE, "phone", rests),
        )

    mobile, phone = asyncio.run(ask())
    assert mobile.answer.offers[0].bundle_id == first
    assert phone.answer.offers[0].bundle_id != first


def test_who_gives_up_and_what_fails_leave_nobody_waiting(line: WholeLine, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = line.recommender
    one, other = (str(client) for client in recommender.snapshot.profiles.client_ids[:2])

    async def ask() -> list[Any]:
        together = MicroBatcher()
        asked = [
            asyncio.ensure_future(
                together.decide(recommender, recommender.profile_of(client), client, 5, [], Aim.RELEVANCE, None, {})
            )
            for client in (one, other)
        ]
        await asyncio.sleep(0)
        asked[0].cancel()
        return await asyncio.gather(*asked, return_exceptions=True)

    gone, answered = asyncio.run(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert answered.answer.client_id == other

    def fails(*args: Any) -> Any:
        raise ValueError("no such order")

    monkeypatch.setattr(recommender, "decide", fails)
    gone, refused = asyncio.run(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert str(refused) == "no such order"
