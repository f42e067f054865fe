"""Three banks serve the same clients in three ways, by nothing but their policies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sheaf.strategy import Linker, Planner, Router, Strategy, read_strategy
from tests.strategy.banks import CATALOG, DAY, POLICY, profiles

HERE = Path(__file__).parent
BANKS = {name: read_strategy(HERE / f"{name}.yaml", CATALOG) for name in ("retail", "corporate", "savings")}

CLIENTS: dict[str, dict[str, Any]] = {
    "saver": {"kind": "retail", "rating": "B", "deposits": 60_000.0, "tenure_months": 240.0, "contribution": 300.0,
              "net_income": 150.0, "eva": 140.0, "regular_inflow": 2500.0, "transactions_3m__card": 40.0},
    "works": {"kind": "corporate", "sector": "manufacturing", "rating": "A", "deposits": 3_000.0, "tenure_months": 30.0,
              "contribution": 400_000.0, "net_income": 200_000.0, "eva": 150_000.0, "capital": 500_000.0, "loans": 4e6,
              "held__payroll_agency": 1.0, "raroc": 0.4},
    "hotel": {"kind": "corporate", "sector": "tourism", "rating": "D", "deposits": 8_000.0, "tenure_months": 30.0,
              "contribution": 3_000.0, "net_income": 900.0, "eva": 100.0, "capital": 8_000.0, "loans": 90_000.0,
              "performance": "loss_making", "deposits_change_3m": -20_000.0},
}  # fmt: skip

LEVELS = {  # of the saver, of the works; and who sells the works a payroll agency, the lead first
    "retail": ("head_office", "head_office", ["app"]),
    "corporate": ("head_office", "both", ["credit", "transactions", "private"]),
    "savings": ("branch", "branch", ["firms", "counter"]),
}
TOLD = ("type", "business", "industry", "tier", "priority", "manager", "visit_days")
EXPECTED: dict[str, dict[str, tuple[Any, ...]]] = {
    "retail": {
        "saver": ("individual", "settlement_only", "neutral", "silver", 2, "robot", None),
        "works": ("corporate", "loan_client", "neutral", "gold", 1, "desk", None),
        "hotel": ("corporate", "loan_client", "neutral", "gold", 1, "desk", None),
    },
    "corporate": {
        "saver": ("individual", "settlement_only", "neutral", "transaction", 5, "pool", None),
        "works": ("corporate", "loan_client", "favoured", "house", 1, "relationship", 30),
        "hotel": ("corporate", "loan_client", "restricted", "transaction", 9, "pool", 21),
    },
    "savings": {
        "saver": ("individual", "settlement_only", "neutral", "friend", 1, "adviser", 182),
        "works": ("corporate", "loan_client", "neutral", "guest", 3, "adviser", None),
        "hotel": ("corporate", "loan_client", "favoured", "neighbour", 2, "adviser", 14),
    },
}
CHANNELS = {
    "retail": (["mobile", "chat"], ["mobile", "phone", "chat"]),
    "corporate": (["desk", "phone"], ["host_to_host", "desk", "phone"]),
    "savings": (["web", "desk"], ["desk", "phone"]),
}
ROUTES = {  # signs, by, papers, days: of a mortgage to the saver, of leasing to the works
    "retail": (("head_office", "single", "full", 3), ("head_office", "single", "full", 3)),
    "corporate": (("head_office", "committee", "full", 25), ("head_office", "single", "full", 5)),
    "savings": (("branch", "single", "simplified", 3), ("branch", "committee", "full", 10)),
}


def plans(policy: Strategy) -> tuple[Router, pa.Table]:
    planner = Planner(policy, DAY)
    router = Router(planner, CATALOG)
    held = {f"held__{product.product_id}": 0.0 for product in CATALOG.products}
    asked = dict.fromkeys(policy.asks_of_clients - policy.of_plans - {"potential", "sector"})
    rows = [asked | held | {"turnover": None} | one | {"client_id": name} for name, one in CLIENTS.items()]
    return router, pa.concat_tables(planner.plans([profiles(*rows)], router.keep))


@pytest.mark.parametrize("bank", BANKS)
def test_each_bank_serves_the_same_clients_its_own_way(bank: str) -> None:
    _, table = plans(BANKS[bank])
    found = {row["client_id"]: row for row in table.to_pylist()}
    assert {name: tuple(found[name][column] for column in TOLD) for name in CLIENTS} == EXPECTED[bank]
    assert (found["saver"]["channels"], found["works"]["channels"]) == CHANNELS[bank]


@pytest.mark.parametrize("bank", BANKS)
def test_each_bank_approves_its_own_way(bank: str) -> None:
    router, table = plans(BANKS[bank])
    offers = pa.table({"client_id": ["saver", "works"], "bundle_id": ["mortgage", "leasing"], "concession": [0.0, 0.0]})
    found = router.routes(table, offers).to_pylist()
    assert tuple((row["signs"], row["signature"], row["papers"], row["days"]) for row in found) == ROUTES[bank]


@pytest.mark.parametrize("bank", BANKS)
def test_each_bank_sells_together_its_own_way(bank: str) -> None:
    _, table = plans(BANKS[bank])
    found = {row["client_id"]: row for row in table.to_pylist()}
    saver, works, desks = LEVELS[bank]
    assert (found["saver"]["level"], found["works"]["level"]) == (saver, works)
    tied = {"links_employer_of": 20.0, "links_owner": 1.0, "bundle_id": "payroll_agency", "line": "intermediary"}
    room = Linker(BANKS[bank], CATALOG).room(found["works"] | tied | {"held__payroll_agency": 0.0})
    assert [seat.desk for seat in room.seats] == desks
    assert [seat.leads for seat in room.seats] == [True] + [False] * (len(desks) - 1)


def test_the_policies_are_told_apart_by_their_versions() -> None:
    assert len({policy.version for policy in (*BANKS.values(), POLICY)}) == 4
