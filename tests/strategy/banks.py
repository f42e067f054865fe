"""Profiles made for tests, with the columns that the default policy asks for, and policies changed in one place."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sheaf.catalog import DEFAULT as SOLD
from sheaf.catalog import read_catalog
from sheaf.features import C
from sheaf.strategy import DEFAULT, Planner, Strategy, read_strategy

DAY = dt.date(2025, 12, 31)  # a Wednesday
CATALOG = read_catalog(SOLD)
POLICY = read_strategy(DEFAULT, CATALOG)

TEXTS = {
    "kind": ["retail", "corporate", "institution"],
    "sector": [*POLICY.industries.sectors, "unheard_of"],
    "rating": ["A", "B", "C", "D", "E"],
    "performance": ["prosperous", "general", "loss_making"],
    "closeness": ["core", "ordinary"],
}
NUMBERS = sorted(POLICY.asks_of_clients - POLICY.of_plans - TEXTS.keys() - {"potential"})
EDGES = [
    edge
    for scale in POLICY.tiers.scales
    for step in scale.steps
    if step.at_least is not None
    for edge in (step.at_least - step.margin, step.at_least, step.at_least + step.margin)
]
"""Figures at which some tier begins, or would for whoever was in another one before."""


def profiles(*clients: dict[str, Any]) -> pa.Table:
    """A row a client, `c0`, `c1`, ...; what is not stated is not known, and a client is a person."""
    columns = {
        **{name: (pa.string(), "retail" if name == "kind" else None) for name in TEXTS},
        **{name: (pa.float64(), None) for name in NUMBERS},
    }
    for one in clients:
        columns |= {name: (pa.float64(), None) for name in one if name not in columns and name != C.CLIENT}
    ids = [one.get(C.CLIENT, f"c{number}") for number, one in enumerate(clients)]
    return pa.table(
        {C.CLIENT: pa.array(ids, pa.string())}
        | {
            name: pa.array([one.get(name, left_out) for one in clients], kind)
            for name, (kind, left_out) in columns.items()
        }
    )


def plan(
    table: pa.Table, policy: Strategy = POLICY, day: dt.date = DAY, previous: Path | None = None
) -> list[dict[str, Any]]:
    """The plans in the order of ids."""
    found: list[dict[str, Any]] = pa.concat_tables(Planner(policy, day, previous).plans([table])).to_pylist()
    return found


def changed(path: Path, *at: str | int, to: Any) -> Path:
    """A file with the default policy in which the value that the keys lead to is another one."""
    yaml = YAML()
    content = place = yaml.load(DEFAULT.read_text(encoding="utf-8"))
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = to
    yaml.dump(content, path)
    return path


def some_clients(at_least: int = 1) -> st.SearchStrategy[pa.Table]:
    """Tables of any clients, many of them on a threshold or with what is not known."""
    edge, any_number = st.sampled_from(EDGES), st.floats(-1e6, 1e6)
    number = st.one_of(st.none(), st.just(float("nan")), st.sampled_from([0.0, 1.0, 6.0]), edge, any_number)
    fields: dict[str, Any] = dict.fromkeys(NUMBERS, number)
    fields |= {name: st.one_of(st.none(), st.sampled_from(texts)) for name, texts in TEXTS.items()}
    return st.lists(st.fixed_dictionaries(fields), min_size=at_least, max_size=12).map(lambda rows: profiles(*rows))
