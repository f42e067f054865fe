"""The worked examples of CONTRIBUTING.md run as they stand."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from benchmarks import figures
from sheaf.catalog import DEFAULT, Catalog, Kind, read_catalog
from sheaf.features import stopped_tables
from sheaf.features.dictionary import GROUPS, Group
from sheaf.pricing import Client, price_bundle, rules
from tests.conftest import ROOT
from tests.features.banks import bank, client, profiles

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(section: str) -> str:
    """The one block of Python below the heading."""
    [block] = re.findall(r"^ *```python\n(.*?)^ *```", PAGE.split(f"## {section}\n")[1].split("\n## ")[0], re.M | re.S)
    return textwrap.dedent(block)


def module(name: str, code: str) -> ModuleType:
    made = ModuleType(name)
    made.__dict__["__name__"] = name
    exec(compile(code, name, "exec"), made.__dict__)
    return made


def test_a_feature_group_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    payees = module("payees", example("Add a feature group"))
    monkeypatch.setitem(GROUPS, "payees", cast(Group, payees))
    monkeypatch.setitem(stopped_tables._TABLES, "payees", "transactions")
    paid = [("a", "x", -5.0), ("a", "x", -6.0), ("a", "y", -7.0), ("a", "z", 8.0), ("b", "y", 9.0)]
    booked = [
        {"client_id": who, "booked_at": "2024-06-20", "amount": amount, "counterparty_id": other}
        for who, other, amount in paid
    ]
    table = profiles(bank(clients=[client("a"), client("b")], holdings=[], transactions=booked))
    assert table["payees_3m"].to_dict() == {"a": 2.0, "b": 0.0}


@pytest.mark.parametrize(("alone", "status"), [(True, "kept"), (False, "broken")])
def test_a_rule_is_added(alone: bool, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = example("Add a rule")
    added: dict[str, Any] = dict(vars(rules))
    exec(code, added)
    call = re.search(r"`found \+= (_\w+)\(products, sheets\)`", PAGE)
    assert call is not None
    europe = rules._europe

    def with_example(products: Any, sheets: Any, *others: Any) -> Iterator[rules.RuleCheck]:
        yield from europe(products, sheets, *others)
        yield from added[call[1]](products, sheets)

    monkeypatch.setattr(rules, "_europe", with_example)
    given = read_catalog(DEFAULT).model_dump()
    for product in given["products"]:
        product["alone"] = product["alone"] and (alone or product["product_id"] != "personal_loan")
    catalog = Catalog.model_validate(given)
    quoted = price_bundle(catalog, Client("new", Kind.RETAIL, "B"), "home_improvement", dt.date(2025, 12, 31))
    assert [check.status for check in quoted.checks if check.rule == added["CONSUMER_CREDIT"]] == [status]


def test_an_endpoint_is_added() -> None:
    code = (
        "import sheaf.serving.service as service\n"
        f"exec({example('Add an endpoint')!r}, vars(service))\n"
        "route = service.app.openapi()['paths']['/v1/bundles']['get']\n"
        "print(route['tags'], route['responses']['200']['content']['application/json']['schema'])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "['recommend'] {'$ref': '#/components/schemas/Bundles'}\n", run.stderr


def test_a_benchmark_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["quote_time", "--rounds", "3"])
    monkeypatch.setattr(figures, "_module", lambda: "quote_time")
    module("quote_time", example("Add a benchmark")).main(rounds=3)
    [case] = figures.cases()
    assert (case.name, case.figures[0].name) == ("quote-time-rounds-3", "median")
