"""Two banks that differ only in clients whom a caller may not see answer that caller with the same bytes."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank, Of, profile_tables
from sheaf.serving.engine.recommender import Hidden, Recommender
from sheaf.serving.http.access import add_key
from sheaf.serving.runtime.preparation import lay_out_plans, refresh
from sheaf.serving.schemas.plans import WHOLE_PLAN, worked_out_again
from sheaf.strategy import DEFAULT as POLICY
from sheaf.strategy import Planner, read_strategy
from tests.conftest import WholeLine
from tests.serving.test_access import AUDIENCE, ISSUER, SCOPES, SIGNER, bearer, issuer, public, served
from tests.serving.test_logs import becomes

BRINGS_OTHERS = (Of.LINKED, Of.GROUP)
OWN_TABLES = ("clients", "holdings", "positions", "transactions")
CHANGES = re.compile(r'"(decision_id|quote_id|request_id|asked_at)":"[^"]*"')
MOST = 25  # clients asked about


def with_others_swapped(bank: Path, new: Path, hidden: list[str]) -> None:
    """A copy of the bank in which hidden clients have changed places in every table but the links: all figures of the
    bank as a whole stay as they are, and whoever is tied to one of them is tied to somebody else."""
    shuffled = hidden[:]
    random.Random(7).shuffle(shuffled)
    becomes_whom = dict(zip(hidden, shuffled, strict=True))
    shutil.copytree(bank, new)
    for path in [
        one for name in OWN_TABLES for one in [*new.glob(f"{name}.parquet"), *new.glob(f"{name}/**/*.parquet")]
    ]:
        table = pq.ParquetFile(path).read()
        ids = pa.array([becomes_whom.get(one, one) for one in table["client_id"].to_pylist()])
        at = table.schema.get_field_index("client_id")
        pq.write_table(table.set_column(at, "client_id", ids.cast(table.schema.field(at).type)), path)


@dataclass(frozen=True)
class Watched:
    """All that a manager is answered about clients, before and after hidden clients changed places."""

    before: dict[str, str]
    after: dict[str, str]
    columns_changed: set[str]
    of_key: dict[str, Any]


@pytest.fixture(scope="module")
def watched(line: WholeLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("hidden")
    shutil.copytree(line.folder / "mlruns", folder / "mlruns", ignore=shutil.ignore_patterns("*.db-wal", "*.db-shm"))
    there = WholeLine(folder, line.bank, line.champion, line.recommender)
    relationships = line.recommender.relationships
    assert relationships is not None
    rows = relationships.rows.select(["client_id", "manager_id"]).to_pylist()
    managers = Counter(one["manager_id"] for one in rows if one["manager_id"])
    manager = min((name for name, clients in managers.items() if clients >= 10), key=lambda name: managers[name])
    mine = [one["client_id"] for one in rows if one["manager_id"] == manager]
    hidden = [one["client_id"] for one in rows if one["manager_id"] != manager]
    others = folder / "others"
    with_others_swapped(line.bank, others, hidden)
    path = folder / "access.yaml"
    path.write_text(f"rate: 9999/second\npeople: {{issuer: {ISSUER}, audience: {AUDIENCE}, jwks: JWKS}}\n")
    with issuer({"one": public(SIGNER, "one")}) as jwks, pytest.MonkeyPatch.context() as patch:
        path.write_text(path.read_text().replace("JWKS", f"'{jwks}'"))
        every = {"x-api-key": add_key(path, "all", list(SCOPES))}
        with served(there, path, patch) as url, httpx.Client(base_url=url, timeout=60) as http:
            asked = linked_first(line, mine)[:MOST]
            headers = bearer(manager_id=manager)
            before, seen = answers(http, headers, asked, hidden), profiles_of(http, every, asked)
            of_key = audited_for(http, every, headers, asked[0])
            with chdir(folder):
                day = refresh(others)
                catalog = read_catalog(DEFAULT)
                planner = Planner(read_strategy(POLICY, catalog), day)
                lay_out_plans(planner, profile_tables(Bank.open(others), catalog, day))
            assert becomes(lambda: profiles_of(http, every, asked) != seen, 60)
            settles(http)
            now = profiles_of(http, every, asked)
            changed = {name for one in asked for name in now[one] if now[one][name] != seen[one].get(name)}
            yield Watched(before, answers(http, headers, asked, hidden), changed, of_key)


def settles(http: httpx.Client) -> None:
    """Waits until the service has taken up plans as well."""
    taken, since = "", time.monotonic()
    while time.monotonic() - since < 5:
        now = "".join(line for line in http.get("/metrics").text.splitlines() if line.startswith("sheaf_refresh_total"))
        if now != taken:
            taken, since = now, time.monotonic()
        time.sleep(0.2)


def linked_first(line: WholeLine, clients: list[str]) -> list[str]:
    """Clients by how much is known of others through them, the most first."""
    of = line.recommender
    names = [one.name for one in of.model.features if one.of in BRINGS_OTHERS]

    def known(client: str) -> int:
        values = of.in_words(of.profile_of(client))
        return sum(bool(values.get(name)) for name in names)

    return sorted(clients, key=known, reverse=True)


def profiles_of(http: httpx.Client, headers: dict[str, str], clients: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for client in clients:
        facts = http.get(f"/v1/clients/{client}", headers=headers).json()["profile"]
        found[client] = {fact["name"]: fact["value"] for fact in facts}
    return found


def audited_for(http: httpx.Client, every: dict[str, str], headers: dict[str, str], client: str) -> dict[str, Any]:
    """What a manager is told of a decision and a quote that a channel asked for."""
    answer = http.post("/v1/recommend", json={"client_id": client, "k": 20}, headers=every).json()
    bundle = answer["offers"][0]["bundle_id"]
    quoted = http.post("/v1/quote", json={"client_id": client, "bundle_id": bundle}, headers=every).json()
    return {
        "answer": answer,
        "decision": http.get(f"/v1/decisions/{answer['decision_id']}", headers=headers).json(),
        "quote": http.get(f"/v1/quotes/{quoted['quote_id']}", headers=headers).json(),
    }


def answers(http: httpx.Client, headers: dict[str, str], mine: list[str], hidden: list[str]) -> dict[str, str]:
    """By what was asked, each answer without what is new every time."""
    told: dict[str, str] = {}
    headers = {**headers, "x-request-id": "r-1"}

    def keep(what: str, reply: httpx.Response) -> Any:
        told[what] = f"{reply.status_code} {CHANGES.sub('', reply.text)}"
        return reply.json()

    def audit(what: str, kind: str, number: str) -> None:
        found = keep(f"{what}, audited", http.get(f"/v1/{kind}/{number}", headers=headers))
        assert found["replay"]["same"] is True, found["replay"]
        told[f"{what}, audited"] = told[f"{what}, audited"].replace(number, "")

    for client in [*mine, *hidden[:3]]:
        keep(f"profile {client}", http.get(f"/v1/clients/{client}", headers=headers))
        keep(f"plan {client}", http.get(f"/v1/clients/{client}/plan", headers=headers))
        bundles: list[str] = []
        for objective in ("relevance", "value"):
            body = {"client_id": client, "k": 50, "objective": objective, "channel": "desk"}
            what = f"{objective} {client}"
            answer = keep(what, http.post("/v1/recommend", json=body, headers=headers))
            if "decision_id" in answer:
                audit(what, "decisions", answer["decision_id"])
                bundles += [offer["bundle_id"] for offer in answer["offers"]]
        for bundle in [*dict.fromkeys(bundles), "secure_saver", "none"][:4]:
            what = f"quote {client} {bundle}"
            quoted = keep(
                what, http.post("/v1/quote", json={"client_id": client, "bundle_id": bundle}, headers=headers)
            )
            if "quote_id" in quoted:
                audit(what, "quotes", quoted["quote_id"])
            place = f"/v1/clients/{client}/plan?bundle_id={bundle}&concession=5"
            keep(f"approval {client} {bundle}", http.get(place, headers=headers))
    body = {"client_ids": [*mine, *hidden[:50], "nobody"], "k": 20, "objective": "value"}
    keep("batch", http.post("/v1/recommend_batch", json=body, headers=headers))
    return told


def test_hidden_clients_change_no_byte_of_what_a_manager_is_answered(watched: Watched) -> None:
    differ = [what for what, text in watched.before.items() if text != watched.after[what]]
    assert not differ, (len(differ), differ[:5], [(watched.before[one], watched.after[one]) for one in differ[:1]])


def test_they_change_what_is_known_of_others_to_who_sees_every_client(line: WholeLine, watched: Watched) -> None:
    of = {feature.name: feature.of for feature in line.recommender.model.features}
    assert any(of[name] is Of.LINKED for name in watched.columns_changed)
    assert {of[name] for name in watched.columns_changed} <= set(BRINGS_OTHERS)


def test_an_audit_of_anothers_question_tells_what_was_shown_and_no_figures_of_others(
    watched: Watched,
) -> None:
    shown, told = watched.of_key["answer"], watched.of_key["decision"]
    assert [one["bundle_id"] for one in told["answer"]["offers"]] == [one["bundle_id"] for one in shown["offers"]]
    assert told["candidates"] == []
    for offer in told["answer"]["offers"]:
        assert (offer["probability"], offer["score"], offer["worth"], offer["route"]) == (None,) * 4
    quote = watched.of_key["quote"]["answer"]
    assert quote["total"]["list_price"] > 0
    assert (quote["acceptance"], quote["curve"], quote["plan"]) == (None, None, None)
    assert json.dumps(watched.of_key["decision"]["replay"]["same"]) == "true"


@pytest.mark.parametrize(
    ("column", "values"), [("employer_held__payroll_agency", (0.0, 1.0)), ("group_eva", (-5.0, 1e6))]
)
def test_a_plan_is_the_same_whatever_hidden_clients_hold(
    line: WholeLine, column: str, values: tuple[float, float]
) -> None:
    """Rules that fire and rules that do not would tell it by structure, tiers by what they give."""
    of = line.recommender
    assert of.plans is not None
    hidden = Hidden(frozenset({Of.LINKED, Of.GROUP}))
    ids, texts = (of.plans.rows[name].to_pylist() for name in ("client_id", "plan"))
    told: set[bytes] = set()
    whole: set[bytes] = set()
    for value in values:
        known: dict[str, Any] = {
            "held__payroll_agency": 0.0,
            "held__collection_service": 0.0,
            "group_clients": 3.0,
            column: value,
        }
        known |= {"potential": value, "_last_tier": "key" if value else None}
        plan = worked_out_again(of.plans.policy, json.dumps(json.loads(texts[0]) | known))
        rows = pa.table({"client_id": ids[:1], "plan": [plan]})
        one = Recommender(of.model, of.snapshot, relationships=of.relationships, plans=replace(of.plans, rows=rows))
        for found, caller in ((told, hidden), (whole, Hidden())):
            client_plan = one.whole_plan(ids[0], caller)
            client_plan.hide(caller)
            found.add(WHOLE_PLAN.dump_json(client_plan))
        assert set(one.whole_plan(ids[0], hidden).plan.without_others) >= {"tier", "priority", "channel"}
        assert one.whole_plan(ids[0]).plan.without_others == ()
    assert len(whole) == 2
    assert len(told) == 1
