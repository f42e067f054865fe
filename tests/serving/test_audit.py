"""A logged decision can be worked out again from what was logged, by whoever has the same model and catalog."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sheaf.catalog import Line
from sheaf.cli import app
from sheaf.serving import ANSWER, Recommender
from sheaf.serving.audit.records import AUDIT, audit, entry, quote_audit, quote_entry, replay, replay_quote
from sheaf.serving.decisions import Writer, add_decisions, upgrade
from sheaf.serving.decisions.database import parsed
from sheaf.serving.engine.version_archive import keep, who_decided
from sheaf.serving.schemas.requests import AskQuote
from sheaf.serving.settings import FOLDER
from sheaf.training import Model
from sheaf.training.price_response.artifact import PriceResponse
from sheaf.training.price_response.models import COLUMNS, KINDS, ShareLogit
from sheaf.training.value_order import Aim
from tests.conftest import WholeLine
from tests.serving.logged import decision


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
    assert (found.k, found.channel, found.request_id, found.list_propensity) == (2, "branch", "r-7", 1.0)
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


def learned(slope: float = 4.0) -> PriceResponse:
    """A price response, as if one had been learned."""
    weights = np.linspace(-0.3, 0.3, len(COLUMNS))
    return PriceResponse(
        ShareLogit(-1.0, weights, np.full(len(KINDS), slope), np.zeros(0), "a logit"), {"as_of": "2025-12-31"}
    )


def quoted(of: Recommender, client: str, **more: Any) -> dict[str, Any] | None:
    """The row of a quote on the client's first offer that has a price."""
    for offer in of.recommend(client).offers:
        if offer.worth is not None:
            asked = AskQuote(client_id=client, bundle_id=offer.bundle_id, **more)
            return json_row(quote_entry(of, asked)[0])
    return None


def json_row(row: dict[str, Any]) -> dict[str, Any]:
    assert all(isinstance(row[name], str) for name in ("asked", "held", "priced_by", "answer"))
    return row


@pytest.mark.parametrize("response", [None, learned()], ids=["by assumption", "as learned"])
def test_every_quote_is_replayed_to_the_last_digit(line: WholeLine, response: PriceResponse | None) -> None:
    of = line.recommender
    of = Recommender(of.model, of.snapshot, None, response, None, of.relationships)
    terms: list[dict[str, Any]] = [
        {}, {"terms": {"hurdle": 0.12}, "concession": 0.5}, {"suitable_until": "2026-12-31"},
        {"terms": {"acceptance": 0.3}},
    ]  # fmt: skip
    grouped = 0
    for number, client in enumerate(map(str, of.snapshot.profiles.client_ids[::8])):
        row = quoted(of, client, **terms[number % 4])
        if row is None:
            continue
        told = replay_quote(of, row)
        assert (told.same, told.differences) == (True, ()), told
        supposed = "terms" in terms[number % 4] and "acceptance" in terms[number % 4]["terms"]
        assert (row["response_version"] is None) == (response is None or supposed)
        if supposed:  # it goes before what was learned
            assert json.loads(row["answer"])["acceptance_at_list"] == pytest.approx(0.3)
        by = json.loads(row["priced_by"])
        grouped += bool(by["group"])
        assert (by["acceptance"] is None) == (response is not None or number % 4 == 3)
    assert grouped  # the worth of a group is replayed as well


def test_a_quote_is_replayed_whatever_became_of_the_client_and_of_the_model(line: WholeLine) -> None:
    """It rests on what is logged of the client, and on the model by the inputs of the learned response alone."""
    of, client = line.recommender, str(line.recommender.snapshot.profiles.client_ids[0])
    row = quoted(of, client)
    assert row is not None
    nobody = Recommender(_another(of.model), of.snapshot, of.candidates.catalog, plans=of.plans)
    assert replay_quote(nobody, row).same is True
    assert quote_audit(nobody, row).replay.same is True


def test_an_altered_quote_is_told_and_one_of_other_prices_is_not_replayed(line: WholeLine) -> None:
    of, client = line.recommender, str(line.recommender.snapshot.profiles.client_ids[0])
    of = Recommender(of.model, of.snapshot, None, learned(), None, of.relationships)
    row = quoted(of, client)
    assert row is not None
    forged = json.loads(row["answer"])
    forged["total"]["eva"] += 1.0
    told = replay_quote(of, row | {"answer": json.dumps(forged)})
    assert (told.same, [one.field for one in told.differences]) == (False, ["answer.total.eva"])
    other = Recommender(of.model, of.snapshot, None, learned(5.0), None, of.relationships)
    told = replay_quote(other, row)
    assert told.same is None
    assert told.why.startswith(f"response_version was {learned().version} and is {learned(5.0).version}")
    assert replay_quote(of, row | {"priced_by": None}).same is None  # of an older Sheaf


def _another(model: Model) -> Model:
    """A model of another version that says the same."""
    return replace(model, about={**model.about, "note": "another"})


@pytest.fixture
def kept(line: WholeLine, recommender: Recommender, tmp_path: Path) -> Path:
    """The made model and catalog, as kept when the line's took their place."""
    laid_out, kept = tmp_path / "laid out", tmp_path / "earlier"
    recommender.model.save(laid_out / "model")
    (laid_out / "catalog.json").write_text(recommender.candidates.catalog.model_dump_json())
    learned().save(laid_out / "price_response")
    keep(laid_out, kept)
    keep(laid_out, kept)  # what is there stays
    return kept


def test_a_decision_of_an_earlier_champion_is_replayed_with_what_was_kept(
    recommender: Recommender, line: WholeLine, kept: Path
) -> None:
    now = line.recommender
    row, _ = entry(recommender, recommender.decide(recommender.profile_of("c0001"), ["c0001"])[0], 5, ())
    then, missing = who_decided(now, row, kept)
    assert (then.model.version, missing) == (recommender.model.version, [])
    found = audit(then, row, [], missing)
    assert found.replay.same is True
    assert found.profile == recommender.in_words(recommender.profile_of("c0001"))
    mine, _ = entry(
        now, now.decide(now.profile_of(client := str(now.snapshot.profiles.client_ids[0])), [client])[0], 5, ()
    )
    assert who_decided(now, mine, kept) == (now, [])


def test_what_is_not_kept_is_named(recommender: Recommender, line: WholeLine, kept: Path) -> None:
    row, _ = entry(recommender, recommender.decide(recommender.profile_of("c0001"), ["c0001"])[0], 5, ())
    lost = row | {"model_version": "0123456789ab", "response_version": "ba9876543210"}
    then, missing = who_decided(line.recommender, lost, kept)
    assert (then, missing) == (line.recommender, ["model 0123456789ab", "response ba9876543210"])
    told = audit(then, lost, [], missing).replay
    assert told.same is None
    assert "model 0123456789ab, response ba9876543210 is not kept here" in told.why
    assert "sheaf decisions keep" in told.why
    model = kept / "model" / recommender.model.version
    next(model.glob("adoption*")).write_text("damaged")
    damaged = kept.parent / "damaged"
    kept.rename(damaged)  # under another name nothing of it has been read before
    assert who_decided(line.recommender, row, damaged)[1] == [f"model {recommender.model.version}"]


def test_a_catalog_of_before_is_replayed_with_the_model_that_still_answers(line: WholeLine, tmp_path: Path) -> None:
    of, client = line.recommender, str(line.recommender.snapshot.profiles.client_ids[0])
    catalog = of.candidates.catalog
    dearer = catalog.model_copy(update={"name": "dearer"})
    now = Recommender(of.model, of.snapshot, dearer, None, None, of.relationships)
    row, _ = entry(of, of.decide(of.profile_of(client), [client])[0], 5, ())
    then, missing = who_decided(
        now, row, tmp_path
    )  # nothing is kept, but the model has the catalog it was trained with
    assert (then.model is of.model, then.candidates.catalog.version, missing) == (True, catalog.version, [])
    assert replay(then, row).same is True


def test_the_registry_gives_the_earlier_models_that_decisions_rest_on(
    line: WholeLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = parsed(str(tmp_path / "decisions.db"))
    upgrade(place)
    log = Writer(place, 5.0)
    log.do(add_decisions([decision(model_version=version) for version in (line.champion.version, "0123456789ab")]))
    log.close()
    monkeypatch.setenv("SHEAF_DECISIONS", str(tmp_path / "decisions.db"))
    monkeypatch.setenv("SHEAF_EARLIER", str(tmp_path / "earlier"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for _ in range(2):
        with chdir(line.folder):
            told = CliRunner().invoke(app, ["decisions", "keep"])
        assert told.exit_code == 0, told.output
        words = " ".join(told.output.split())
        assert words.startswith("1 versions that decisions rest on are in")
        assert "The registry does not have: 0123456789ab." in words
    found = Model.load(tmp_path / "earlier" / "model" / line.champion.version)
    assert found.version == line.champion.version
    assert (line.folder / FOLDER / "model").exists()  # what answers now stays where it is
