from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.features.banks import bank, client, profiles


def tie(client_id: str, linked_id: str, relation: str = "employer", **more: Any) -> dict[str, Any]:
    return {"client_id": client_id, "linked_id": linked_id, "relation": relation, **more}


def of(links: list[dict[str, Any]], *held: tuple[str, str, str, str | None]) -> pd.DataFrame:
    """Profiles of firm, ann, ben and eve; `held` are client, product, opened, closed."""
    holdings = [dict(zip(("client_id", "product_id", "opened_on", "closed_on"), row, strict=True)) for row in held]
    clients = [client(name) for name in ("firm", "ann", "ben", "eve")]
    return profiles(bank(clients=clients, holdings=holdings, links=links))


def test_an_employer_and_its_staff_see_what_the_other_side_holds() -> None:
    found = of(
        [tie("ann", "firm"), tie("ben", "firm")],
        ("firm", "loan", "2020-01-31", None),
        ("firm", "account", "2020-01-31", "2024-01-31"),
        ("ann", "card", "2020-01-31", None),
    )
    assert found["employer_held__loan"].loc[["ann", "ben"]].tolist() == [1, 1]
    assert found["employer_held__account"].loc["ann"] == 0  # closed
    assert found["staff_held__card"].loc["firm"] == 1 / 2
    assert found["linked_held__card"].loc["firm"] == 1 / 2
    assert found["linked_held__card"].loc["ann"] == 0  # the employer has none; colleagues are not tied
    assert found["links_employer"].tolist() == [1, 1, 0, 0]  # ann, ben, eve, firm
    assert found["links_employer_of"].tolist() == [0, 0, 0, 2]
    assert found["staff_held__card"].tolist() == [0, 0, 0, 1 / 2]
    assert found["employer_held__loan"].tolist() == [1, 1, 0, 0]


def test_all_relations_count_once_a_client_in_both_directions() -> None:
    found = of(
        [tie("ann", "firm"), tie("firm", "ann", "owner"), tie("eve", "ann", "guarantor"), tie("ann", "ben", "group")],
        ("firm", "card", "2020-01-31", None),
        ("firm", "card", "2021-01-31", None),  # a second card of the same holder
        ("ben", "card", "2020-01-31", "2020-05-31"),
    )
    assert found["linked_clients"].loc["ann"] == 3  # firm (twice tied), eve, ben
    assert found["linked_held__card"].loc["ann"] == pytest.approx(1 / 3)
    assert found["links_owner_of"].loc["ann"] == 1
    assert found["links_guarantor"].loc["eve"] == found["links_guarantor_of"].loc["ann"] == 1


def test_openings_of_the_last_three_months_around_the_client() -> None:
    found = of(
        [tie("ann", "firm"), tie("ben", "firm"), tie("eve", "firm")],
        ("ann", "card", "2024-03-31", None),  # three months back to the day
        ("ben", "card", "2024-04-01", None),
        ("eve", "card", "2024-06-30", "2024-06-30"),
    )
    assert found["linked_opened__card"].loc["firm"] == 2
    assert found["linked_opened__card"].loc["ann"] == 0


def test_a_tie_that_has_ended_or_is_to_oneself_is_none() -> None:
    found = of([tie("ann", "firm", until="2024-06-30"), tie("ben", "firm", until="2024-07-01"), tie("eve", "eve")])
    assert found["linked_clients"].tolist() == [0, 1, 0, 1]
    assert found["linked_held__card"].tolist() == [0, 0, 0, 0]
