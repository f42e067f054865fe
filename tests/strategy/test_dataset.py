import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features import Bank
from sheaf.strategy import DEFAULT as POLICY
from sheaf.strategy import read_strategy
from sheaf.strategy.fairness.dataset import gathered, protected_of


@pytest.mark.parametrize(
    ("column", "named", "message"),
    [
        ("Sex", (), "table clients has an attribute Sex, and the catalog protects sex; write it alike"),
        ("sex", ("SEX",), "table clients has an attribute sex, and --protected names SEX; write it alike"),
        ("sex", ("sex", "sex"), "--protected names sex more than once"),
    ],
)
def test_a_protected_attribute_is_not_passed_over_for_how_it_is_written(
    column: str, named: tuple[str, ...], message: str
) -> None:
    people = pa.table({"client_id": ["a"], "kind": ["retail"], "joined_on": ["2020-01-01"], column: ["f"]})
    held = pa.table({"client_id": ["a"], "product_id": ["mortgage"], "opened_on": ["2021-01-01"]})
    with pytest.raises(ValueError, match=message):
        protected_of(Bank.of(clients=people, holdings=held), read_catalog(DEFAULT), named)


def test_plans_with_a_client_twice_are_not_audited(tmp_path: Path) -> None:
    plans = tmp_path / "plans.parquet"
    row = {"as_of": dt.date(2025, 12, 31), "tier": "core", "priority": 2, "visit_days": 30}
    pd.DataFrame([{"client_id": one} | row for one in ("C1", "C2", "C2")]).to_parquet(plans)
    catalog = read_catalog(DEFAULT)
    clients = pd.DataFrame({"client_id": ["C1", "C2"], "kind": "retail", "joined_on": dt.date(2020, 1, 1)})
    held = {"client_id": ["C1"], "product_id": ["card"], "opened_on": [dt.date(2020, 1, 1)]}
    (tmp_path / "bank").mkdir()
    clients.to_parquet(tmp_path / "bank" / "clients.parquet")
    pd.DataFrame(held).to_parquet(tmp_path / "bank" / "holdings.parquet")
    bank = Bank.open(tmp_path / "bank")
    with pytest.raises(ValueError, match=r"plans\.parquet has client C2 twice; give plans with a row a client"):
        gathered(bank, catalog, read_strategy(POLICY, catalog), ["sex"], plans, [])
