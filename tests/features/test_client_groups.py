"""Groups of linked clients: each client once, and nothing of what lies ahead."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sheaf.features import Bank
from sheaf.features.client_groups import members
from sheaf.features.client_positions import LARGEST_GROUP, Relationships, client_on
from sheaf.features.columns.value import of_groups
from sheaf.pricing import Quote, price_bundle
from sheaf.pricing.views import shown
from tests.features.banks import DAY, IDS, Rows, bank, client, frame, futures, pasts, profiles, tables, written
from tests.pricing.books import catalog

CATALOG = catalog()
SUMS = ["contribution", "net_income", "capital", "eva"]


def link(one: str, other: str, relation: str = "group", **more: Any) -> dict[str, Any]:
    return {"client_id": one, "linked_id": other, "relation": relation, "since": "2024-01-31", **more}


def groups(some: Bank, day: dt.date = DAY) -> pd.DataFrame:
    found = of_groups(some, CATALOG, day).collect("pyarrow").to_native().to_pandas()
    return found.set_index("group").sort_index()


def test_clients_tied_by_id_or_link_or_through_others_are_one_group() -> None:
    clients = [client("a", group_id="g"), client("b", group_id="g"), client("c"), client("d"), client("e"),
               client("left", left_on="2024-05-31"), client("f"), client("alone", group_id="h")]  # fmt: skip
    links = [
        link("b", "c"), link("c", "b"), link("a", "b"),  # twice, and by id as well
        link("c", "left"), link("left", "d"),  # through one who has left
        link("e", "a", relation="owner"), link("f", "a", until="2024-06-30"), link("f", "nobody"),
    ]  # fmt: skip
    holdings = [{"client_id": c["client_id"], "product_id": "account", "opened_on": "2024-01-01"} for c in clients]
    some = bank(clients=clients, holdings=holdings, links=links)
    assert groups(some)["clients"].to_dict() == {"a": 4.0}
    found = profiles(some, CATALOG)
    assert found["group_clients"].dropna().to_dict() == dict.fromkeys("abcd", 4.0)
    one = found.loc["a"]
    assert one["group_eva"] == pytest.approx(4 * one["eva"])
    assert one["group_raroc"] == pytest.approx(one["raroc"])
    assert [member.client_id for member in Relationships.of(some, CATALOG, DAY).group("d", CATALOG)[0]] == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert Relationships.of(some, CATALOG, DAY).group("alone", CATALOG) == ((), 0)


def with_ids(rows: Rows, names: list[str | None]) -> Rows:
    """The rows with a `group_id` for every client."""
    for row in rows["clients"]:
        row["group_id"] = names[IDS.index(row["client_id"])] if row["client_id"] in IDS else "g"
    return rows


def priced(rows: Rows) -> Bank:
    """The same with positions that a price sheet's bank may have."""
    for row in rows["positions"]:
        row["limit"] = None if row["limit"] is None else abs(row["limit"])
    return Bank.of(**tables(rows))


@given(st.data())
@settings(max_examples=10)
def test_a_group_is_the_sum_over_its_distinct_members_and_nothing_later_moves_it(data: Any) -> None:
    names = data.draw(st.lists(st.none() | st.sampled_from(["g", "h"]), min_size=len(IDS), max_size=len(IDS)))
    past = data.draw(pasts())
    tied = link(*data.draw(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))))
    past["links"].append({**tied, "until": None})
    one, other = (priced(with_ids(data.draw(futures(past)), names)) for _ in range(2))
    found = profiles(one, CATALOG)
    pd.testing.assert_frame_equal(found, profiles(other, CATALOG), check_exact=True)
    of = groups(one)
    inside = found[found["group_clients"].notna()]
    ids = members(one.known_on(DAY), DAY).collect().to_native().groupby("group")["client_id"].agg(list)
    assert sorted(inside.index) == sorted(name for of_group in ids for name in of_group)
    assert sorted(ids.index) == sorted(of.index)
    for name, group in of.iterrows():
        theirs = found.loc[ids[name]]
        assert len(theirs) == group["clients"]
        for column in SUMS:
            assert group[column] == pytest.approx(theirs[column].sum(), abs=1e-6)
            assert theirs[f"group_{column}"].tolist() == pytest.approx([group[column]] * len(theirs))


@pytest.mark.parametrize(("size", "told"), [(LARGEST_GROUP, (LARGEST_GROUP, 0)), (LARGEST_GROUP + 1, (0, 101))])
def test_a_group_that_is_too_large_is_counted_and_not_added_up(size: int, told: tuple[int, int]) -> None:
    clients = [client(f"c{number:03}", group_id="g") for number in range(size)]
    holdings = [{"client_id": "c000", "product_id": "account", "opened_on": "2024-01-01"}]
    found, left_out = Relationships.of(bank(clients=clients, holdings=holdings), CATALOG, DAY).group("c000", CATALOG)
    assert (len(found), left_out) == told
    whom = Relationships.of(bank(clients=clients, holdings=holdings), CATALOG, DAY).client("c000", CATALOG)
    quoted = price_bundle(CATALOG, whom, "home", DAY, group=found, left_out=left_out)
    assert (quoted.group is None) == bool(left_out)
    assert any("the client's group has 101 clients" in note for note in quoted.notes) == bool(left_out)


def test_a_quote_tells_what_the_group_is_worth_today(tmp_path: Path) -> None:
    clients = [client("a", rating="C", group_id="g"), client("b", rating="unheard of", group_id="g"), client("c")]
    holdings = [{"client_id": c["client_id"], "product_id": "account", "opened_on": "2024-01-01"} for c in clients]
    some = written({"clients": frame("clients", clients), "holdings": frame("holdings", holdings)}, tmp_path / "bank")

    def quoted(name: str) -> Quote:
        group, _ = Relationships.of(some, CATALOG, DAY, name).group(name, CATALOG)
        return price_bundle(CATALOG, client_on(some, CATALOG, DAY, name), "home", DAY, group=group)

    of_group, today = quoted("a").group, quoted("a").relationship[0]
    assert of_group is not None
    assert of_group.state == "group of 2, today"
    assert of_group.contribution == pytest.approx(2 * today.contribution)
    assert of_group.raroc == pytest.approx(of_group.net_income / of_group.capital)
    assert quoted("c").group is None
    lines = Console(width=120)
    with lines.capture() as told:
        lines.print(shown(quoted("a")))
    assert "group of 2, today" in told.get()


def test_relations_that_the_caller_handed_over_have_groups_too() -> None:
    made = tables({"clients": [client(name, group_id="g") for name in "ab"], "holdings": []})
    connection = duckdb.connect()
    some = Bank.of(**{name: connection.from_df(table) for name, table in made.items()})
    assert groups(some)["clients"].to_dict() == {"a": 2.0}
