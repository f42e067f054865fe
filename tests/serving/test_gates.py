"""A quote tells the gates that offers pass, and is not to be offered where one of them fails."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sheaf.catalog import Bundle, Kind, Line, Range
from sheaf.features import UNSEEN, ProfileMatrix
from sheaf.pricing.rules import ELIGIBLE, SUITABILITY, RuleCheck
from sheaf.serving import Recommender
from sheaf.serving.audit.records import quote_entry, replay_quote
from sheaf.serving.engine.gates import as_rated, asked_of, eligible, judged, of_profile
from sheaf.serving.schemas.plans import Gate
from sheaf.serving.schemas.quotes import QUOTED, Quoted
from sheaf.serving.schemas.requests import AskQuote
from tests.conftest import WholeLine

NAN = float("nan")
COLUMNS = ["kind", "sector", "age", "linked_held__loan"]
TEXTS = {"kind": ["retail", "corporate"], "sector": ["farming", "trade", "crafts", UNSEEN]}


def gate(where: dict[str, Any], sector: float = 0, age: float = 40, linked: float = 1, **more: Any) -> tuple[str, str]:
    offer = Bundle(bundle_id="b", name="B", products=("loan",), line=Line.RETAIL, kinds=(Kind.CORPORATE,), where=where,
                   why="")  # fmt: skip
    values = np.array([[1, sector, age, linked]], dtype=np.float32)
    found = eligible(offer, ProfileMatrix(np.array(["c"]), COLUMNS, TEXTS, values), values, **more)
    return found.status, found.why


@pytest.mark.parametrize(
    ("where", "now", "status", "says"),
    [
        ({"sector": ("farming",)}, {"sector": 0}, "passed", "sector one of farming (is farming)"),
        ({"sector": ("farming",)}, {"sector": 1}, "failed", "sector is trade, and has to be one of farming"),
        ({"sector": ("farming",)}, {"sector": NAN}, "passed", "sector one of farming (is not known)"),
        ({"sector": ("mining",)}, {"sector": 1}, "failed", "sector is trade, and has to be one of mining"),
        ({"sector": ("mining",)}, {"sector": 3}, "passed", "is a text that the model has not seen"),
        ({"sector": ("farming",)}, {"sector": 3}, "failed", "is a text that the model has not seen"),
        ({"age": Range(min=18, max=40)}, {"age": 40}, "passed", "age from 18 to 40 (is 40)"),
        ({"age": Range(min=18, max=40)}, {"age": 40.5}, "failed", "age is 40.5, and has to be from 18 to 40"),
        ({"age": Range(max=0.7)}, {"age": 0.7}, "passed", "(is 0.7)"),
        ({"age": Range(min=18)}, {"age": NAN}, "passed", "age from 18 to any (is not known)"),
        ({"members": Range(min=1)}, {}, "passed", "members from 1 to any (not known of any client)"),
        ({"age": Range(min=50), "sector": ("trade",)}, {}, "failed", "age is 40, and has to be from 50 to any; sector"),
    ],
)
def test_a_condition_is_told_with_what_the_client_has(
    where: dict[str, Any], now: dict[str, float], status: str, says: str
) -> None:
    found, why = gate(where, **now)
    assert (found, says in why) == (status, True), why


@pytest.mark.parametrize("linked", [0.0, 1.0, NAN])
def test_a_hidden_column_leaves_the_gate_open_whatever_it_holds(linked: float) -> None:
    where = {"linked_held__loan": Range(min=1), "age": Range(min=18)}
    told = gate(where, linked=linked, hidden=lambda column: column.startswith("linked_"))
    assert told[0] == "open"
    assert told == gate(where, linked=1.0, hidden=lambda column: column.startswith("linked_"))


def test_the_rules_decide_suitability_and_a_text_that_the_model_has_not_seen() -> None:
    of = Gate("eligible", "passed", "")
    for status, told in {"kept": "passed", "broken": "failed", "open": "open"}.items():
        _, _, suits = judged(of, 1, 2, [RuleCheck(SUITABILITY, status, "why")])  # type: ignore[arg-type]
        assert (suits.status, suits.why) == (told, "why")
    meets, brings, suits = judged(of, 1, 2, [RuleCheck(ELIGIBLE, "broken", "sector is mining")])
    assert (meets.status, meets.why, brings.status, suits.status) == ("failed", "sector is mining", "passed", "passed")


def pairs(of: Recommender, may: bool) -> Iterator[tuple[str, str]]:
    """A client and a bundle with conditions for its kind, of which it meets all or not all."""
    bundles = [one for one in of.candidates.offers if one.where]
    for client in map(str, of.snapshot.profiles.client_ids):
        values = of.profile_of(client)
        slate, held = of.candidates.slate(values), of.candidates.held(values)[0]
        theirs = {of.candidates.offers[at].bundle_id for at in slate.pairs.item}
        for bundle in bundles:
            brings = any(not held[of.candidates.positions[product]] for product in bundle.products)
            kind = of.in_words(values)["kind"]
            if brings and kind in bundle.kinds and (bundle.bundle_id in theirs) is may:
                yield client, bundle.bundle_id


def asked(of: Recommender, client: str, bundle: str, **more: Any) -> Quoted:
    row, sent = quote_entry(of, AskQuote(client_id=client, bundle_id=bundle, **more))
    told = replay_quote(of, json.loads(json.dumps(row, default=str)))
    assert (told.same, told.differences) == (True, ())
    return QUOTED.validate_json(sent)


def test_a_bundle_that_the_client_may_not_have_is_a_what_if_at_the_policys_acceptance(line: WholeLine) -> None:
    of = line.recommender
    for number, (client, bundle) in enumerate(pairs(of, may=False)):
        told = asked(of, client, bundle)
        assert told.gates is not None
        assert told.what_if
        assert [(one.gate, one.status) for one in told.gates[:2]] == [("eligible", "failed"), ("applicable", "passed")]
        assert "has to be" in told.gates[0].why
        assert told.what_if[0].startswith("gates.eligible: failed")
        assert told.notes[0] == f"gate eligible failed: {told.gates[0].why}"
        assert told.acceptance_by == "policy"
        assert "policy's assumption, not the model's: the bundle is no candidate" in told.notes[1]
        if number == 20:
            break


def test_a_quote_passes_the_gates_of_the_offer_at_the_models_acceptance(line: WholeLine) -> None:
    of = line.recommender
    for number, (client, bundle) in enumerate(pairs(of, may=True)):
        told = asked(of, client, bundle)
        assert told.gates is not None
        assert (told.gates[0].status, told.acceptance_by) == ("passed", "model")
        assert not [one for one in told.notes if "policy's assumption, not the model's" in one]
        assert asked(of, client, bundle, terms={"acceptance": 0.3}).acceptance_by == "request"
        if number == 10:
            break


def test_a_suitability_profile_that_has_ended_fails_and_a_supposed_one_is_a_what_if(line: WholeLine) -> None:
    of = line.recommender
    ended, seen = dt.date(2020, 1, 1), 0
    for client in map(str, of.snapshot.profiles.client_ids[:100]):
        for offer in of.recommend(client, 100).offers:
            if offer.gates[2].status == "open":
                late = asked(of, client, offer.bundle_id, suitable_until=ended)
                supposed = asked(of, client, offer.bundle_id, suitable_until=dt.date(2030, 1, 1))
                assert late.gates is not None
                assert supposed.gates is not None
                assert (late.gates[2].status, supposed.gates[2].status) == ("failed", "passed")
                assert any(one.startswith("gates.suitable: failed") for one in late.what_if or ())
                assert "suitable_until: supposed, not the client's" in (supposed.what_if or ())
                seen += 1
                break
    assert seen


def test_a_quote_logged_before_gates_were_reads_and_replays(line: WholeLine) -> None:
    of = line.recommender
    client, bundle = next(pairs(of, may=False))
    quoted, by = of.quote(AskQuote(client_id=client, bundle_id=bundle))
    old = of.priced(AskQuote(client_id=client, bundle_id=bundle), replace(by, eligible=None))
    assert (old.gates, old.acceptance_by, old.what_if) == (None, None, ())
    assert quoted.acceptance == old.acceptance


def test_an_approval_tells_the_gates_that_fail(line: WholeLine) -> None:
    of = line.recommender
    for number, (client, bundle) in enumerate(pairs(of, may=False)):
        told = of.approval(client, bundle)
        quoted = asked(of, client, bundle)
        assert quoted.gates is not None
        assert told.gates[0].status == "failed"
        assert told.gates[1] == quoted.gates[1]
        if number == 10:
            break
    client, bundle = next(pairs(of, may=True))
    assert [gate.status for gate in of.approval(client, bundle).gates[:2]] == ["passed", "passed"]


def test_gates_of_a_profiles_values_are_those_of_its_row(line: WholeLine) -> None:
    of = line.recommender
    for may in (False, True):
        for number, (client, bundle) in enumerate(pairs(of, may)):
            values = of.in_words(of.profile_of(client))
            known = asked_of(of.candidates.catalog, bundle) & values.keys()
            found = of_profile(of.candidates.catalog, bundle, {name: values[name] for name in known})
            assert found[:2] == of.approval(client, bundle).gates[:2]
            assert found[2].status == of.approval(client, bundle).gates[2].status
            if number == 5:
                break


def test_a_supposed_rating_is_what_the_gate_looks_at() -> None:
    texts = {"rating": ["A", "C"]}
    known = ProfileMatrix(np.array(["c"]), ["rating"], texts, np.array([[1.0]], dtype=np.float32))
    offer = Bundle(bundle_id="b", name="B", products=("loan",), line=Line.RETAIL, kinds=(Kind.CORPORATE,),
                   where={"rating": ("A",)}, why="")  # fmt: skip
    found = [eligible(offer, known, as_rated(known, known.values, rating)).status for rating in (None, "A", "C", "B")]
    assert found == ["failed", "passed", "failed", "failed"]
