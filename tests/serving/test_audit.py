"""A logged decision can be worked out again from what was logged, by whoever has the same model and catalog."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from catalog import Line
from serving import ANSWER, Recommender
from serving.auditing import AUDIT, audit, entry, replay
from tests.conftest import WholeLine
from training.by_value import Aim


def test_every_answer_is_replayed_to_the_last_digit(line: WholeLine) -> None:
    of = line.recommender
    asked = [(3, (), Aim.RELEVANCE), (100, (Line.RETAIL, Line.INTERMEDIARY), Aim.RELEVANCE), (5, (), Aim.VALUE)]
    for client in map(str, of.snapshot.profiles.client_ids[::25]):
        for k, lines, objective in asked:
            profile = of.profile_of(client)
            own = of.own(profile, [client])
            row, sent = entry(of, of.decide(profile, [client], k, lines, objective, own)[0], k, lines)
            assert row["own"]
            assert row["answer"].encode() == sent
            told = replay(of, row)
            assert (told.same, told.differences) == (True, ()), told


def test_someone_new_is_replayed_with_words_that_the_model_never_saw(recommender: Recommender) -> None:
    told: dict[str, float | str | None] = {"kind": "retail", "need": "of_something_new", "age": 31.0, "region": None}
    row, _ = entry(recommender, recommender.decide(recommender.profile_of_new(told), [None])[0], 5, (), told)
    assert replay(recommender, row).same is True
    found = audit(recommender, row, [])
    assert (found.new_client, found.client_id) == (told, None)
    assert found.profile is not None
    assert (found.profile["kind"], found.profile["age"], found.profile["region"]) == ("retail", 31.0, None)


def test_an_audit_tells_every_candidate_in_order_and_what_may_not_be_sold(line: WholeLine) -> None:
    of, client = line.recommender, str(line.recommender.snapshot.profiles.client_ids[0])
    decided = of.decide(of.profile_of(client), [client], 2, (), Aim.VALUE)[0]
    row, _ = entry(of, decided, 2, (), channel="branch", request_id="r-7")
    found = audit(of, row, [])
    everything = of.decide(of.profile_of(client), [client], 100, (), Aim.RELEVANCE)[0]
    told = [one.bundle_id for one in found.candidates]
    assert set(told) | set(found.forbidden) == set(everything.bundle_ids)
    assert not set(told) & set(found.forbidden)
    assert [one.score for one in found.candidates] == sorted((one.score for one in found.candidates), reverse=True)
    assert [offer.bundle_id for offer in found.answer.offers] == [one for one in told if one in
            {offer.bundle_id for offer in found.answer.offers}]  # fmt: skip
    assert (found.k, found.channel, found.request_id, found.propensity) == (2, "branch", "r-7", 1.0)
    assert found.authority == of.valuer.authority
    assert AUDIT.validate_json(AUDIT.dump_json(found)) == found


def test_what_was_altered_afterwards_is_told_field_by_field(recommender: Recommender) -> None:
    row, _ = entry(recommender, recommender.decide(recommender.profile_of("c0001"), ["c0001"])[0], 5, ())
    answer = json.loads(row["answer"])
    answer["offers"][0]["probability"] = 0.99
    forged = replay(recommender, row | {"answer": json.dumps(answer, separators=(",", ":"))})
    assert (forged.same, [one.field for one in forged.differences]) == (False, ["answer.offers.0.probability"])
    assert forged.differences[0].logged == "0.99"
    profile = np.frombuffer(row["profile"], "<f4").copy()
    need = recommender.model.encoding.columns.index("need")
    profile[need] = 1.0 - min(profile[need], 1.0)
    other = replay(recommender, row | {"profile": profile.tobytes()})
    assert other.same is False
    assert 1 <= len(other.differences) <= 20


def test_another_model_or_catalog_replays_nothing_and_says_why(recommender: Recommender, line: WholeLine) -> None:
    row, _ = entry(recommender, recommender.decide(recommender.profile_of("c0001"), ["c0001"])[0], 5, ())
    found = audit(line.recommender, row, [])
    assert found.replay.same is None
    assert found.replay.why.startswith(f"model_version was {recommender.model.version} and is {line.champion.version}")
    assert "catalog_version was" in found.replay.why
    assert found.profile is None
    assert found.answer == ANSWER.validate_json(row["answer"])


def test_profiles_of_a_later_day_replay_the_decision_of_the_earlier(recommender: Recommender) -> None:
    row, _ = entry(recommender, recommender.decide(recommender.profile_of("c0001"), ["c0001"])[0], 5, ())
    refreshed = replace(recommender.snapshot, as_of=recommender.snapshot.as_of.replace(year=2026))
    assert replay(Recommender(recommender.model, refreshed), row).same is True


@pytest.mark.parametrize("k", [1, 100])
def test_k_cuts_what_is_shown_and_not_what_is_logged(recommender: Recommender, k: int) -> None:
    profile = recommender.profile_of("c0001")
    decided = recommender.decide(profile, ["c0001"], k)[0]
    assert decided.bundle_ids == recommender.decide(profile, ["c0001"], 5)[0].bundle_ids
    assert len(decided.bundle_ids) == len(decided.scores) == len(decided.probabilities)
