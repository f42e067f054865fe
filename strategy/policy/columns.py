"""The columns that rules may ask for, each with its type, and what its texts can be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import duckdb
import pyarrow as pa

from sheaf.catalog import Catalog, Kind, Line, Range
from sheaf.features import TABLES, Bank, C, FeatureType, feature_dictionary
from sheaf.features.bank import connect
from sheaf.features.contract import Type
from sheaf.strategy.policy.conditions import literal, quoted
from sheaf.strategy.policy.schema import OUTCOMES, Marketed, Strategy

Columns = Mapping[str, FeatureType]
NUMBER, CATEGORY, FLAG = FeatureType.NUMBER, FeatureType.CATEGORY, FeatureType.FLAG

OF_PLAN: Columns = dict.fromkeys(OUTCOMES, CATEGORY) | {
    "figure": NUMBER, "priority": NUMBER, "key_client_centre": FLAG, "green_channel": FLAG, "manager_load": NUMBER,
    "visit_days": NUMBER,
}  # fmt: skip
OF_PAIR: Columns = {
    C.BUNDLE: CATEGORY, "line": CATEGORY, "credit": NUMBER, "list_price": NUMBER, C.CONCESSION: NUMBER
}  # fmt: skip
"""What is known of a client and a bundle: `credit` is the exposure that the bundle typically adds, a limit or a
balance; `list_price` of what it brings and the `concession` on it are money a year."""


OF_CALL: Columns = {"visit_rule": CATEGORY, "days_to_visit": NUMBER, "offer_days_left": NUMBER}
"""What is known of a call beside the client's plan: `days_to_visit` from the day on, negative for one that is late, and
`offer_days_left` of the bundle where it was offered and not answered yet."""

OF_LIST: Mapping[str, Columns] = {
    "win": {"outsider": FLAG, "ties": NUMBER, "linked_best": NUMBER, "received": NUMBER, "paid": NUMBER,
            "likeness": NUMBER},
    "repair": {"below_months": NUMBER, "lift": NUMBER, "lifted": FLAG, "loss_share": NUMBER, "overdue": FLAG},
    "leaving": {"leaving": NUMBER, "stake": NUMBER, "at_risk": NUMBER},
}  # fmt: skip
"""What the rules of a list may ask for beside profiles and plans: docs/guides/client-lists.md says what each is."""


def of_catalog(catalog: Catalog) -> dict[str, FeatureType]:
    """The columns of the profiles of a bank that hands over every table of the contract, and those of its clients'
    attributes that the catalog names."""
    types = {Type.DAY: pa.date32(), Type.NUMBER: pa.float64()}
    empty = {
        name: pa.table({column.name: pa.array([], types.get(column.type, pa.string())) for column in table.columns})
        for name, table in TABLES.items()
    }
    found = {feature.name: feature.type for feature in feature_dictionary(Bank.of(**empty), catalog)}
    for where in (*(one.where for one in catalog.products), *(one.where for one in catalog.bundles)):
        for name, condition in where.items():
            found.setdefault(name, NUMBER if isinstance(condition, Range) else CATEGORY)
    if catalog.pricing and catalog.pricing.turnover:
        found.setdefault(catalog.pricing.turnover, NUMBER)
    return found


def of_file(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, FeatureType]:
    """The columns of what can be selected from `source`: profiles, a row a client."""
    described = connection.sql(f"describe select * from {source}").fetchall()
    return {name: CATEGORY if kind == "VARCHAR" else NUMBER for name, kind, *_ in described}


def parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """What a Parquet file is selected from. Raises ValueError where it is none."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    source = f"read_parquet({literal(str(path))})"
    try:
        connection.sql(f"describe select * from {source}")
    except duckdb.Error as error:
        raise ValueError(f"{path} is no Parquet file; {str(error).splitlines()[0]}") from error
    return source


def profile_columns(path: Path) -> dict[str, FeatureType]:
    """The columns of the profiles in a Parquet file. Raises ValueError where it is none."""
    connection = connect()
    return of_file(connection, parquet(connection, path))


def profile_texts(path: Path) -> dict[str, list[str]]:
    """The texts that occur in each column of the profiles in a Parquet file, ids left out."""
    connection = connect()
    source, found = parquet(connection, path), {}
    for name, kind in of_file(connection, source).items():
        if kind is not CATEGORY or name == C.CLIENT:
            continue
        rows = connection.sql(
            f"select distinct {quoted(name)} from {source} where {quoted(name)} is not null"
        ).fetchall()
        found[name] = sorted(str(row[0]) for row in rows)
    return found


def texts(policy: Strategy, catalog: Catalog) -> dict[str, list[str]]:
    """What the texts of a column can be, where policy or catalog say so."""
    found: dict[str, list[str]] = {
        C.KIND: list(Kind),
        "closeness": ["core", "ordinary"],
        "performance": ["prosperous", "general", "loss_making"],
        "industry": ["favoured", "neutral", "restricted"],
        "scale": [scale.name for scale in policy.tiers.scales],
        "tier": list(policy.tiers.order),
        "manager": list(policy.service.managers.grades),
        "visit_rule": [rule.name for rule in policy.service.visits],
        C.SECTOR: policy.industries.sectors,
        "level": list(get_args(Marketed)),
        C.BUNDLE: [offer.bundle_id for offer in catalog.offers],
        "line": list(Line),
    }
    found |= {stage.name: sorted({rule.then for rule in stage.rules}) for stage in policy.facts}
    if catalog.pricing:
        found[C.RATING] = list(catalog.pricing.grades)
    return found
