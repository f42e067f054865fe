"""Which columns follow from the rows of other clients: just those that say so."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd

from sheaf.features import Feature, FeatureType, Of, feature_dictionary, of_earlier
from tests.features.banks import Rows, bank, client, profiles
from tests.pricing.books import catalog

CATALOG = catalog()
PRODUCTS = [product.product_id for product in CATALOG.products]
OTHERS = ["boss", "staff", "sister", "stranger"]
MONTHS = [str(day.date()) for day in pd.date_range("2023-07-31", "2024-06-30", freq="ME")]


def rows_of(who: str, draw: random.Random) -> Rows:
    """What a client holds, has, books and was offered, drawn by chance."""
    held = draw.sample(PRODUCTS, draw.randint(0, len(PRODUCTS)))
    days = [f"2024-0{draw.randint(1, 6)}-1{draw.randint(0, 9)}" for _ in held]
    amounts: list[dict[str, Any]] = [
        {"booked_at": day, "amount": draw.randint(-900, 900), "currency": "EUR", "kind": "card"} for day in days
    ]
    told: Rows = {
        "holdings": [{"product_id": one, "opened_on": day} for one, day in zip(held, days, strict=True)],
        "positions": [
            {"product_id": one, "month": month, "balance": draw.randint(1, 90_000), "rate": 0.04, "fees": 3.0}
            for one in held
            for month in MONTHS
        ],
        "transactions": amounts,
        "offers": [{"bundle_id": "b", "offered_at": day} for day in days],
    }
    return {name: [{"client_id": who, **row} for row in rows] for name, rows in told.items()}


def rows(seed: int, of_others: int) -> Rows:
    """Rows of `me` and a clerk by `seed` and of the others by another, all tied as ever."""
    parts = [rows_of(who, random.Random(f"{seed} {who}")) for who in ("me", "clerk")]
    parts.append({"transactions": [{"client_id": "clerk", "booked_at": "2023-01-01", "amount": 1.0, "currency": "EUR"},
                                   {"client_id": "clerk", "booked_at": "2024-06-30", "amount": 1.0, "currency": "EUR"}],
                  "offers": [{"client_id": "clerk", "bundle_id": "b", "offered_at": "2023-01-01"}],
                  "positions": [{"client_id": "clerk", "product_id": PRODUCTS[0], "month": MONTHS[-1],
                                 "balance": 5.0, "rate": 0.04, "fees": 3.0}]})  # fmt: skip
    parts += [rows_of(who, random.Random(f"{of_others} {who}")) for who in OTHERS]
    told = {name: [row for part in parts for row in part.get(name, [])] for name in parts[0]}
    seen: dict[Any, Any] = {(row["client_id"], row["product_id"], row["month"]): row for row in told["positions"]}
    told["positions"] = list(seen.values())
    ties = [("me", "boss", "employer"), ("staff", "me", "employer"), ("me", "sister", "group"), ("me", "boss", "owner")]
    told["links"] = [
        {"client_id": one, "linked_id": other, "relation": way, "since": "2024-01-31"} for one, other, way in ties
    ]
    draw = random.Random(of_others)
    told["clients"] = [client("me", kind="corporate"), client("clerk")]
    told["clients"] += [client(who, kind=draw.choice(["retail", "corporate"]), rating=None) for who in OTHERS]
    return told


def test_other_clients_rows_change_just_the_columns_that_say_they_follow_from_them() -> None:
    changed: set[str] = set()
    for seed in range(5):
        one, other = (profiles(bank(**rows(seed, of)), CATALOG).loc["me"] for of in (1000 + seed, 2000 + seed))
        changed |= {
            name for name in one.index if one[name] != other[name] and not (pd.isna(one[name]) and pd.isna(other[name]))
        }
    stated = {feature.name: feature.of for feature in feature_dictionary(bank(**rows(0, 1)), CATALOG)}
    assert {name for name in changed if stated[name] is Of.CLIENT} == set()
    follow = {name for name, of in stated.items() if of in (Of.GROUP, Of.LINKED)}
    assert follow - changed <= {"group_clients"}  # who is of the group stays as it was
    assert {"contribution_rank", "contribution_share", "tier"} <= changed


def test_a_column_stated_by_an_earlier_version_is_of_whom_its_like_is_now() -> None:
    for feature in feature_dictionary(bank(**rows(0, 1)), CATALOG):
        assert feature.of in (of_earlier(feature.name), Of.BANK)
    assert Feature("x", FeatureType.NUMBER, "", "").of is Of.CLIENT
