"""The contact policy: limits by channel and period, rests after rejections and after being shown too often."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from sheaf.catalog import Contact
from sheaf.catalog.contact_policy import look_back
from sheaf.serving import Recommender
from sheaf.serving.audit.records import entry, replay
from sheaf.serving.decisions import (
    Accepted,
    Outcome,
    Past,
    RefusedError,
    Writer,
    add_decisions,
    add_feedback,
    read_accepted,
    read_decision,
    read_past,
    unless_accepted,
    upgrade,
)
from sheaf.serving.decisions.database import parsed
from sheaf.serving.engine.contact import awaited, resting
from sheaf.serving.engine.micro_batching import MicroBatcher
from sheaf.serving.schemas.answers import Decided, Resting
from sheaf.training.value_order import Aim
from tests.conftest import WholeLine
from tests.serving.logged import ASKED, NOW, decision, told
from tests.serving.test_shutdown import serving

DAY = dt.timedelta(days=1)


def past(outcome: str, days_ago: float, bundle: str = "card", decision_id: str = "d1", channel: str = "app") -> Past:
    return Past(decision_id, channel, bundle, Outcome(outcome), NOW - days_ago * DAY)


def rests(policy: dict[str, Any], of: list[Past], channel: str | None = "app") -> list[tuple[str | None, float]]:
    """What rests, and for how many days more."""
    found = resting(Contact.model_validate(policy), of, channel, NOW)
    return [(one.bundle_id, (one.until - NOW) / DAY) for one in found if one.until]


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


BRINGS = {"card": frozenset({"card"}), "both": frozenset({"card", "loan"}), "home": frozenset({"loan"})}


def test_what_brings_an_accepted_product_rests_whatever_bundle_it_was_accepted_in() -> None:
    day = NOW.date()
    gone = Accepted("not_sold_any_more", NOW, frozenset({"card", "savings"}))
    assert [one.bundle_id for one in awaited(BRINGS, [gone], day)] == ["card", "both"]
    assert [one.bundle_id for one in awaited(BRINGS, [gone, Accepted("home", NOW, BRINGS["home"])], day)] == [*BRINGS]
    assert awaited({"card": frozenset(), "home": BRINGS["home"]}, [gone], day) == ()  # the tables show it
    [one, _] = awaited(BRINGS, [gone], day)
    assert (one.until, one.why) == (None, f"card accepted on {day}; the tables of {day} do not show it yet")


def test_who_asks_by_hand_is_not_told_what_the_client_accepted(recommender: Recommender) -> None:
    free = recommender.recommend("c0001", k=50)
    new = frozenset(part.product_id for part in free.offers[0].products if not part.held)
    found = recommender.recommend("c0001", k=50, accepted=[Accepted("", NOW, new)])
    assert found.offers
    assert not new & {part.product_id for offer in found.offers for part in offer.products if not part.held}
    assert free.offers[0].bundle_id in {one.bundle_id for one in found.resting}


def test_an_entry_waits_for_what_was_accepted_meanwhile(place: str) -> None:
    upgrade(parsed(place))
    log, mine = Writer(parsed(place)), decision()
    parts = [{"product_id": "card", "held": False}, {"product_id": "current", "held": True}]
    mine["answer"] = json.dumps({"offers": [{"bundle_id": "card", "products": parts}, {"bundle_id": "home"}]})
    log.do(add_decisions([mine]))
    log.do(add_feedback(told(mine["decision_id"], "rejected", bundle_id="home"), NOW))
    later = decision()
    assert log.do(unless_accepted(add_decisions([later]), "c0001", ASKED, 0)) is None
    log.do(add_feedback(told(mine["decision_id"], "accepted"), NOW))
    known = [Accepted("card", ASKED + dt.timedelta(seconds=60), frozenset({"card"}))]
    held_up = decision()
    assert log.do(unless_accepted(add_decisions([held_up]), "c0001", ASKED, 0)) == known
    with pytest.raises(RefusedError):
        log.do(read_decision(held_up["decision_id"]))
    assert log.do(unless_accepted(add_decisions([held_up]), "c0001", ASKED, 1)) is None
    assert log.do(read_decision(held_up["decision_id"]))
    assert log.do(read_accepted(["c0001", "c0002"], ASKED + DAY)) == {}
    log.close()


def test_a_pass_leaves_out_what_any_request_of_the_client_knows_to_rest(recommender: Recommender) -> None:
    profile, until = recommender.profile_of("c0001"), NOW + DAY
    [free] = recommender.decide(profile, ["c0001"], 3)
    first, second = (offer.bundle_id for offer in free.answer.offers[:2])

    async def both() -> list[Decided]:
        together, asked = MicroBatcher(), (recommender, profile, "c0001", 3, (), Aim.RELEVANCE, "app")
        rests: list[dict[str, tuple[Resting, ...]]] = [{"c0001": (Resting(b, until, "why"),)} for b in (first, second)]
        return await asyncio.gather(*(together.decide(*asked, of_one) for of_one in rests))

    for decided in asyncio.run(both()):
        assert not {first, second} & {offer.bundle_id for offer in decided.answer.offers}


def test_what_was_accepted_is_not_offered_again_before_the_tables_show_it(line: WholeLine, tmp_path: Path) -> None:
    """Over HTTP with one kind of log: what either kind of log knows is asked of it above."""
    client = str(line.recommender.snapshot.profiles.client_ids[11])

    def ask(port: int, path: str, **body: Any) -> dict[str, Any]:
        reply = httpx.post(f"http://127.0.0.1:{port}/v1/{path}", json=body, timeout=20)
        assert reply.status_code == 200, reply.text
        answered: dict[str, Any] = reply.json()
        return answered

    def brought(answer: dict[str, Any]) -> set[str]:
        parts = [part for offer in answer["offers"] for part in offer["products"]]
        return {part["product_id"] for part in parts if not part["held"]}

    def audit(port: int, which: str) -> bool | None:
        found = httpx.get(f"http://127.0.0.1:{port}/v1/{which}").json()
        same: bool | None = found["replay"]["same"]
        return same

    def keeps(port: int, offer: dict[str, Any]) -> None:
        new = {part["product_id"] for part in offer["products"] if not part["held"]}
        for objective in ("relevance", "value"):
            answer = ask(port, "recommend", client_id=client, k=50, objective=objective)
            many = ask(port, "recommend_batch", client_ids=[client], k=50, objective=objective)["answers"][0]
            for one in (answer, many):
                assert not new & brought(one)
                rests = {rest["bundle_id"]: rest["until"] for rest in one["resting"]}
                assert rests[offer["bundle_id"]] is None
                assert audit(port, f"decisions/{one['decision_id']}") is True
        quote = ask(port, "quote", client_id=client, bundle_id=offer["bundle_id"])
        assert [note for note in quote["notes"] if "accepted on" in note and "do not show it yet" in note]
        assert audit(port, f"quotes/{quote['quote_id']}") is True

    log = tmp_path / "decisions.db"
    with serving(line.folder, log, workers=2) as (_, port):
        answer = ask(port, "recommend", client_id=client, k=50)
        first, second = answer["offers"][:2]
        assert answer["resting"] == []
        for offer, outcome in ((second, "rejected"), (first, "accepted")):
            ask(port, "feedback", idempotency_key=offer["bundle_id"], decision_id=answer["decision_id"],
                bundle_id=offer["bundle_id"], outcome=outcome, at=dt.datetime.now(dt.UTC).isoformat())  # fmt: skip
        for _ in range(3):  # whichever worker answers
            keeps(port, first)
        other = str(line.recommender.snapshot.profiles.client_ids[12])
        assert ask(port, "recommend", client_id=other)["resting"] == []
    with serving(line.folder, log, workers=1) as (_, port):
        keeps(port, first)
