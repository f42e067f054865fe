"""The contact policy: limits by channel and period, rests after rejections and after being shown too often."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from catalog import Contact
from serving import Recommender
from serving.auditing import entry, replay
from serving.contact import Resting, look_back, resting
from serving.decisions import Outcome, Past, Writer, add_decisions, add_feedback, read_past, upgrade
from serving.decisions.database import parsed
from tests.serving.logged import ASKED, NOW, decision, told

DAY = dt.timedelta(days=1)


def past(outcome: str, days_ago: float, bundle: str = "card", decision_id: str = "d1", channel: str = "app") -> Past:
    return Past(decision_id, channel, bundle, Outcome(outcome), NOW - days_ago * DAY)


def rests(policy: dict[str, Any], of: list[Past], channel: str | None = "app") -> list[tuple[str | None, float]]:
    """What rests, and for how many days more."""
    found = resting(Contact.model_validate(policy), of, channel, NOW)
    return [(one.bundle_id, (one.until - NOW) / DAY) for one in found]


LIMITS: dict[str, Any] = {"limits": [{"channel": "app", "days": 7, "most": 2}]}


@pytest.mark.parametrize(
    ("of", "channel", "found"),
    [
        ([past("shown", 1), past("shown", 2, decision_id="d2")], "app", [(None, 5.0)]),  # until the older one is 7 days
        ([past("shown", 1), past("shown", 8, decision_id="d2")], "app", []),
        ([past("shown", 1), past("shown", 2, decision_id="d2")], "desk", []),
        ([past("shown", 1), past("shown", 2, decision_id="d2", channel="desk")], "app", []),
        ([past("shown", 1), past("shown", 1, "home"), past("shown", 2, "home")], "app", []),  # one answer, one contact
        ([past("accepted", 1), past("rejected", 2, decision_id="d2")], "app", []),
        ([past("shown", n, decision_id=f"d{n}") for n in range(1, 5)], "app", [(None, 5.0)]),
        ([], "app", []),
    ],
)
def test_a_channel_has_so_many_contacts_in_so_many_days(
    of: list[Past], channel: str, found: list[tuple[str | None, float]]
) -> None:
    assert rests(LIMITS, of, channel) == found


@pytest.mark.parametrize("wrong", [{"limits": [{"days": 7, "most": 0}]}, {"limits": [{"days": 0, "most": 1}]},
                                   {"limits": [{"days": 7, "most": -1}]}, {"limits": [{"days": 9999999, "most": 1}]},
                                   {"limits": [{"days": 7, "most": True}]}, {"limits": [{"days": 7, "most": 1.5}]},
                                   {"rest_after_shown": {"times": 0, "days": 7}}, {"rest_after_rejection": -1},
                                   {"limits": [{"days": 7, "most": 10**12}]}])  # fmt: skip
def test_a_contact_policy_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Contact.model_validate(wrong)


def test_a_limit_without_a_channel_counts_them_all() -> None:
    of = [past("shown", 1, channel="app"), past("shown", 3, decision_id="d2", channel="desk")]
    assert rests({"limits": [{"days": 7, "most": 2}]}, of, "branch") == [(None, 4.0)]
    assert rests({"limits": [{"days": 7, "most": 2}]}, of, None) == [(None, 4.0)]


def test_a_rejected_bundle_rests_and_no_other() -> None:
    of = [past("rejected", 10), past("rejected", 100, "home"), past("ignored", 1, "insurance")]
    assert rests({"rest_after_rejection": 90}, of) == [("card", 80.0)]
    assert rests({"rest_after_rejection": 0}, of) == []


def test_a_bundle_shown_too_often_rests_and_counts_once_an_answer() -> None:
    policy = {"rest_after_shown": {"times": 2, "days": 30}}
    assert rests(policy, [past("shown", 1), past("shown", 5, decision_id="d2")]) == [("card", 29.0)]
    assert rests(policy, [past("shown", 1), past("shown", 2)]) == []
    assert rests(policy, [past("shown", 1), past("shown", 31, decision_id="d2")]) == []
    assert rests(policy, [past("shown", 1), past("shown", 5, "home", "d2")]) == []


def test_as_far_back_as_any_rule_goes_is_looked() -> None:
    policy = Contact.model_validate(LIMITS | {"rest_after_rejection": 90, "rest_after_shown": {"times": 1, "days": 30}})
    assert look_back(policy) == 90 * DAY
    assert look_back(Contact()) == dt.timedelta(0)


def test_the_log_tells_what_became_of_a_clients_offers(place: str) -> None:
    upgrade(parsed(place))
    log = Writer(parsed(place))
    mine, others, new = decision(), decision(client_id="c0002", channel="desk"), decision(client_id=None)
    log.do(add_decisions([mine, others, new]))
    for of, outcome in ((mine, "shown"), (mine, "rejected"), (others, "shown"), (new, "shown")):
        log.do(add_feedback(told(of["decision_id"], outcome, 60 if outcome == "shown" else 90), NOW))
    found = log.do(read_past(["c0001", "c0002", "c0003"], ASKED))
    assert found.keys() == {"c0001", "c0002"}
    assert sorted((one.outcome, one.channel, one.bundle_id) for one in found["c0001"]) == [
        ("rejected", "app", "card"), ("shown", "app", "card")
    ]  # fmt: skip
    assert found["c0002"][0].channel == "desk"
    assert log.do(read_past(["c0001"], ASKED + 70 * dt.timedelta(seconds=1)))["c0001"][0].outcome is Outcome.REJECTED
    assert log.do(read_past([], ASKED)) == {}
    log.close()


def test_what_rests_is_not_offered_and_its_replay_is_the_same(recommender: Recommender) -> None:
    profile = recommender.profile_of("c0001")
    [free] = recommender.decide(profile, ["c0001"], 3)
    first = free.answer.offers[0].bundle_id
    until = NOW + DAY
    [without] = recommender.decide(profile, ["c0001"], 3, resting={"c0001": (Resting(first, until, "rejected"),)})
    offered = [offer.bundle_id for offer in without.answer.offers]
    assert first not in offered
    assert without.answer.resting == (Resting(first, until, "rejected"),)
    assert without.bundle_ids == free.bundle_ids  # the log keeps the whole order
    [nothing] = recommender.decide(profile, ["c0001"], 3, resting={"c0001": (Resting(None, until, "too often"),)})
    assert nothing.answer.offers == ()
    [other] = recommender.decide(profile, ["c0001"], 3, resting={"c0002": (Resting(None, until, "too often"),)})
    assert other.answer == free.answer
    for decided in (without, nothing):
        row, _ = entry(recommender, decided, 3, ())
        assert replay(recommender, row).same is True
