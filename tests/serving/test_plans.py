"""How a client is served, with answers and by itself: what was laid out, its routes, and their replay."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from sheaf.cli import app
from sheaf.features import Bank, profile_tables
from sheaf.serving import Recommender
from sheaf.serving.audit.records import entry, quote_entry, replay, replay_quote
from sheaf.serving.engine.version_archive import keep_policy, who_decided
from sheaf.serving.schemas.requests import AskQuote
from sheaf.strategy import DEFAULT, Planner, Router, Strategy, explained, read_strategy
from sheaf.strategy.plans.snapshot import Plans, PlansError, read_plan
from tests.conftest import ROOT, WholeLine
from tests.made import LAST_DAY
from tests.serving.test_audit import learned
from tests.serving.test_service import is_as_described, post


@pytest.fixture(scope="module")
def planner(line: WholeLine) -> Planner:
    return Planner(read_strategy(DEFAULT, line.recommender.candidates.catalog), LAST_DAY)


@pytest.fixture(scope="module")
def clients(line: WholeLine) -> list[str]:
    """Some of every kind."""
    return [str(client) for client in line.recommender.snapshot.profiles.client_ids[::40]]


def profiles(line: WholeLine, client: str) -> Any:
    return list(profile_tables(Bank.open(line.bank), line.recommender.candidates.catalog, LAST_DAY, [client]))


def test_answers_say_in_short_what_the_plan_is_and_who_approves_what(
    service: str, line: WholeLine, clients: list[str], planner: Planner
) -> None:
    router, some = Router(planner, line.recommender.candidates.catalog), 0
    for client in clients[:6]:
        told = post(service, {"client_id": client}).json()
        found = planner.one(client, profiles(line, client), router.keep)
        visit = found.plan["next_visit"]
        assert told["plan"] == {
            "as_of": str(LAST_DAY), "tier": found.plan["tier"], "priority": found.plan["priority"],
            "manager": found.plan["manager"], "channel": found.plan["channels"][0],
            "next_visit": visit and str(visit), "policy_version": planner.policy.version, "without_others": [],
        }  # fmt: skip
        for offer in told["offers"]:
            if offer["worth"] is None:
                continue
            some += 1
            wanted = router.one(found.table, offer["bundle_id"], offer["worth"]["concession"])
            names = {"priority": "route_priority", "rule": "route_rule"}
            assert offer["route"] == {name: wanted[names.get(name, name)] for name in offer["route"]}
    assert some > 5


def test_a_quote_says_who_approves_it_as_its_authority_does(service: str, line: WholeLine, clients: list[str]) -> None:
    signed = set()
    for client in clients:
        for offer in line.recommender.recommend(client, 2).offers:
            for concession in (0.0, 1e4):
                body = {"client_id": client, "bundle_id": offer.bundle_id, "concession": concession}
                reply = post(service, body, "v1/quote")
                if reply.status_code != 200 or offer.worth is None:
                    continue
                is_as_described(service, reply, "/v1/quote")
                told = reply.json()
                assert told["plan"]["tier"]
                signed.add(told["route"]["signs"])
                order = [one.name for one in line.recommender.valuer.book.pricing.authorities]
                if told["above"] > 0.01:  # what the one who asks may not grant, nor does the route
                    assert told["route"]["signs"] is None or order.index(told["route"]["signs"]) > 0
    assert len(signed) > 1


def test_the_whole_plan_is_what_the_command_shows(
    service: str, line: WholeLine, clients: list[str], planner: Planner
) -> None:
    for client in clients[:4]:
        reply = httpx.get(f"{service}/v1/clients/{client}/plan")
        is_as_described(service, reply, "/v1/clients/{client_id}/plan")
        told, found = reply.json(), planner.one(client, profiles(line, client))
        why = explained(planner.policy, found.plan)
        assert [(one["part"], one["rule"]) for one in told["outcomes"]] == [(one.part, one.rule) for one in why]
        assert [len(one["would_change"]) for one in told["outcomes"]] == [len(one.changes) for one in why]
        assert told["visit_purpose"] == found.plan["visit_purpose"]
        assert told["approval"] is None
        offer = line.recommender.recommend(client, 1).offers[0]
        asked: dict[str, str | float] = {
            "bundle_id": offer.bundle_id,
            "concession": 0.0 if offer.worth is None else offer.worth.concession,
        }
        reply = httpx.get(f"{service}/v1/clients/{client}/plan", params=asked)
        is_as_described(service, reply, "/v1/clients/{client_id}/plan")
        approval = reply.json()["approval"]
        assert offer.route is not None
        assert approval["route"] == asdict(offer.route)
        assert approval["why"]["rule"] == offer.route.rule


def test_a_route_takes_nothing_of_a_learned_price_response(line: WholeLine, clients: list[str]) -> None:
    of = line.recommender
    learns = Recommender(of.model, of.snapshot, None, learned(), None, of.relationships, of.plans)
    for client in clients[:4]:
        bundle = of.recommend(client, 1).offers[0].bundle_id
        assert learns.approval(client, bundle, 1.0) == of.approval(client, bundle, 1.0)


@pytest.mark.parametrize(
    ("asked", "status", "problem"),
    [
        ({"concession": 5}, 422, "name it in bundle_id"),
        ({"bundle_id": "no_such"}, 422, "there is no bundle 'no_such'"),
        ({"bundle_id": "leasing", "concession": -1}, 422, "greater than or equal to 0"),
        ({"bundle_id": "leasing", "concession": "nan"}, 422, "finite number"),
    ],
)
def test_a_route_that_cannot_be_is_refused(
    service: str, clients: list[str], asked: dict[str, Any], status: int, problem: str
) -> None:
    reply = httpx.get(f"{service}/v1/clients/{clients[0]}/plan", params=asked)
    assert reply.status_code == status
    is_as_described(service, reply, "/v1/clients/{client_id}/plan")
    assert problem in reply.text


def test_plans_are_logged_and_replayed_from_what_they_went_by(line: WholeLine, clients: list[str]) -> None:
    of, quoted = line.recommender, 0
    for client in clients:
        profile, plans = of.profile_of(client), of.plans_of([client])
        row, sent = entry(of, of.decide(profile, [client], own=of.own(profile, [client]), plans=plans)[0], 5, ())
        answer = json.loads(sent)
        assert of.plans is not None
        assert (row["plan"], row["policy_version"]) == (plans[0], of.plans.policy.version)
        assert replay(of, row).same is True
        forged = json.loads(row["plan"]) | {"figure": 1e9}  # outcomes are worked out again, not read back
        assert replay(of, row | {"plan": json.dumps(forged)}).same is True
        other = json.loads(row["plan"]) | {"eva": 1e9, "contribution": 1e9, "group_eva": 1e9}
        told = replay(of, row | {"plan": json.dumps(other)})
        assert (told.same, answer["plan"]["tier"]) in ((False, answer["plan"]["tier"]), (True, "key"))
        offer = next((one for one in answer["offers"] if one["worth"]), None)
        if offer:
            row, _ = quote_entry(of, AskQuote(client_id=client, bundle_id=offer["bundle_id"], rating="A"))
            assert replay_quote(of, row).same is True
            quoted += 1
    assert quoted


def test_a_decision_by_an_earlier_policy_is_replayed_with_what_was_kept(line: WholeLine, tmp_path: Path) -> None:
    of, client = line.recommender, str(line.recommender.snapshot.profiles.client_ids[0])
    assert of.plans is not None
    row, _ = entry(of, of.decide(of.profile_of(client), [client], plans=of.plans_of([client]))[0], 5, ())
    another = Plans.none(Strategy.model_validate(of.plans.policy.model_dump(mode="json") | {"name": "Another"}))
    for plans in (another, None):
        now = Recommender(of.model, of.snapshot, None, None, None, of.relationships, plans)
        then, missing = who_decided(now, row, tmp_path)
        assert missing == [f"policy {of.plans.policy.version}"]
        told = replay(then, row, missing)
        assert told.same is None
        assert told.why.startswith(f"policy_version was {of.plans.policy.version} and is ")
    keep_policy(of.plans.policy, tmp_path)
    then, missing = who_decided(now, row, tmp_path)
    assert (missing, replay(then, row).same) == ([], True)


def test_without_plans_all_is_as_before(line: WholeLine) -> None:
    of, client = line.recommender, str(line.recommender.snapshot.profiles.client_ids[0])
    without = Recommender(of.model, of.snapshot, None, None, None, of.relationships)
    answer = without.recommend(client)
    assert (answer.plan, {offer.route for offer in answer.offers}) == (None, {None})
    assert [offer.bundle_id for offer in answer.offers] == [offer.bundle_id for offer in of.recommend(client).offers]
    row, sent = entry(without, without.decide(without.profile_of(client), [client])[0], 5, ())
    assert (row["plan"], row["policy_version"]) == (None, None)
    older = json.loads(sent)
    del older["plan"]
    for offer in older["offers"]:
        del offer["route"]
    assert replay(of, row | {"answer": json.dumps(older, separators=(",", ":"))}).same is True  # of an older Sheaf
    with pytest.raises(LookupError, match="no plans are laid out; make them: sheaf plan"):
        without.whole_plan(client)


def test_the_plan_before_is_laid_out_with_the_plan(line: WholeLine, planner: Planner, tmp_path: Path) -> None:
    catalog, bank = line.recommender.candidates.catalog, Bank.open(line.bank)
    table = list(profile_tables(bank, catalog, LAST_DAY))
    before = pa.concat_tables(planner.plans(table))
    pq.write_table(before, tmp_path / "before.parquet")
    later = Planner(planner.policy, LAST_DAY.replace(year=2026), tmp_path / "before.parquet")
    assert Plans.write(tmp_path / "plans.arrow", later, table) == len(before)
    found = Plans.read(tmp_path / "plans.arrow", catalog)
    assert found.policy == planner.policy
    assert found.policy.version == planner.policy.version
    assert found.as_of == LAST_DAY.replace(year=2026)
    for row in before.to_pylist()[::60]:
        text = found.of(row["client_id"])
        assert text is not None
        values, last = read_plan(text)
        assert last == {name: row[name] for name in ("scale", "tier", "next_visit")}
        assert values["tier"] == row["tier"]
    assert found.of("nobody") is None
    protected = catalog.policy.model_copy(update={"protected": ("sector",)})
    with pytest.raises(PlansError, match=r"does not fit the catalog: .*sector.* is protected by policy"):
        Plans.read(tmp_path / "plans.arrow", catalog.model_copy(update={"policy": protected}))


def test_the_command_lays_plans_out_for_a_service_that_runs(
    line: WholeLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHEAF_PLANS", str(tmp_path / "mine.arrow"))
    monkeypatch.setenv("SHEAF_EARLIER", str(tmp_path / "earlier"))
    with chdir(line.folder):
        told = CliRunner().invoke(app, ["plan", "--data", str(line.bank), "--serve"])
    assert told.exit_code == 0, told.output
    catalog = line.recommender.candidates.catalog
    found, theirs = Plans.read(tmp_path / "mine.arrow", catalog), line.recommender.plans
    assert theirs is not None
    assert found.rows["client_id"].equals(theirs.rows["client_id"])
    outcomes = [
        [(one["tier"], one["priority"], one["next_visit"]) for one in map(json.loads, of.rows["plan"].to_pylist())]
        for of in (found, theirs)
    ]
    assert outcomes[0] == outcomes[1]
    assert [path.stem for path in (tmp_path / "earlier" / "policy").iterdir()] == [theirs.policy.version]


def test_the_bento_has_every_room_that_serves() -> None:
    told = YAML(typ="safe").load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))["include"]
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"cli", "simulation", "tests", "benchmarks"}
    assert {f"{room}/" for room in rooms} <= set(told)
