"""Exploration: bounded, logged, and with the propensity of just the list that was shown."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest

from sheaf.catalog import Exploration, Policy
from sheaf.features.snapshot import Snapshot
from sheaf.serving import Recommender
from sheaf.serving.audit.records import entry, replay
from sheaf.serving.engine.recommender import explorer
from sheaf.training import Model
from tests.made import CATALOG


def exploring(model: Model, snapshot: Snapshot, share: float, depth: int) -> Recommender:
    policy = Policy(exploration=Exploration(share=share, depth=depth))
    return Recommender(model, snapshot, CATALOG.model_copy(update={"policy": policy}))


@pytest.mark.parametrize(("share", "depth", "k"), [(0.4, 3, 2), (0.5, 2, 5), (0.3, 4, 1)])
def test_every_list_is_shown_as_often_as_its_propensity_says(
    model: Model, snapshot: Snapshot, share: float, depth: int, k: int
) -> None:
    recommender = exploring(model, snapshot, share, depth)
    draw = explorer(recommender.candidates.catalog.policy.exploration)
    profile, times = recommender.profile_of("c0000"), 1_500
    best = [offer.bundle_id for offer in recommender.decide(profile, ["c0000"], 100)[0].answer.offers]
    pool = min(depth, len(best))
    assert pool > 1
    seen: Counter[tuple[str, ...]] = Counter()
    told: dict[tuple[str, ...], float] = {}
    for _ in range(times):
        [decided] = recommender.decide(profile, ["c0000"], k, draw=draw)
        shown = tuple(offer.bundle_id for offer in decided.answer.offers)
        seen[shown] += 1
        assert told.setdefault(shown, decided.list_propensity) == decided.list_propensity
    number = min(pool, k)
    possible = {(*those, *best[depth:k]) for those in permutations(best[:pool], number)}
    assert seen.keys() <= possible
    of_explored = share / math.perm(pool, number)
    for shown in seen:
        assert told[shown] == pytest.approx(of_explored + (1 - share) * (list(shown) == best[:k]))
        spread = math.sqrt(told[shown] * (1 - told[shown]) / times)
        assert abs(seen[shown] / times - told[shown]) < 5 * spread
    assert sum(of_explored + (1 - share) * (list(one) == best[:k]) for one in possible) == pytest.approx(1.0)


def test_what_was_explored_is_logged_and_replayed(model: Model, snapshot: Snapshot) -> None:
    recommender = exploring(model, snapshot, 0.5, 4)
    draw = explorer(recommender.candidates.catalog.policy.exploration)
    explored = 0
    for _ in range(40):
        [decided] = recommender.decide(recommender.profile_of("c0000"), ["c0000"], 3, draw=draw)
        row, _ = entry(recommender, decided, 3, ())
        assert row["list_propensity"] == decided.list_propensity < 1
        assert replay(recommender, row).same is True
        explored += decided.answer.explored
        assert [offer.rank for offer in decided.answer.offers] == [1, 2, 3]
    assert 5 < explored < 35


def test_without_a_policy_the_best_order_is_certain(recommender: Recommender) -> None:
    assert explorer(recommender.candidates.catalog.policy.exploration) is None
    assert explorer(Exploration(share=0.0)) is None
    [decided] = recommender.decide(recommender.profile_of("c0000"), ["c0000"], 3)
    assert (decided.list_propensity, decided.drawn, decided.answer.explored) == (1.0, None, False)


def test_an_account_managers_own_look_is_never_explored(model: Model, snapshot: Snapshot) -> None:
    recommender = exploring(model, snapshot, 0.5, 4)
    assert len({repr(recommender.recommend("c0000")) for _ in range(20)}) == 1


def test_shares_and_depths_are_bounded() -> None:
    for share, depth in ((0.6, 8), (-0.1, 8), (0.1, 1), (0.1, 21)):
        with pytest.raises(ValueError, match="Input should be"):
            Exploration(share=share, depth=depth)
