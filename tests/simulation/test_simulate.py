"""The same arguments give the same bytes; a wrong one gives an error and no files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.simulation import SimulationError, simulate
from sheaf.simulation.behaviour import Behaviour, read_behaviour
from sheaf.simulation.conditions import Conditions
from sheaf.simulation.openings import opening_probabilities
from sheaf.simulation.population import populate
from sheaf.simulation.timing import Draws, calendar


def fingerprints(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(tmp_path):
    for name in ("one", "two"):
        simulate(tmp_path / name, 400, months=3, seed=5)
    assert fingerprints(tmp_path / "one") == fingerprints(tmp_path / "two")
    assert set(fingerprints(tmp_path / "one")) == {
        "clients.parquet", "holdings.parquet", "links.parquet", "truth/opening_probability.parquet",
        *(f"{table}/2025-{month}.parquet" for table in ("positions", "transactions") for month in (10, 11, 12)),
    }  # fmt: skip


def test_another_seed_makes_another_bank(tmp_path):
    for seed in (5, 6):
        simulate(tmp_path / str(seed), 400, months=2, seed=seed)
    one, other = fingerprints(tmp_path / "5"), fingerprints(tmp_path / "6")
    assert [name for name in one if one[name] == other[name]] == []


@pytest.mark.parametrize("clients", [1, 2, 10])
def test_a_handful_of_clients_is_a_bank_too(tmp_path, clients):
    simulate(tmp_path / "bank", clients, months=2)
    assert len(fingerprints(tmp_path / "bank")) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": 0}, "0 clients make no bank; give a number from 1 to 9999999"),
        ({"clients": 10, "months": 0}, "0 months cannot be simulated; give a number from 1 to 240"),
        ({"clients": 10, "seed": -1}, "seed -1 is negative; give 0 or more"),
    ],
)
def test_arguments_that_make_no_bank_are_refused(tmp_path, arguments, message):
    with pytest.raises(SimulationError) as error:
        simulate(tmp_path / "bank", **arguments)
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_tables_are_overwritten_only_when_that_is_asked_for(tmp_path):
    simulate(tmp_path, 20, months=1)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "offers.csv").write_text("offer_id\n", encoding="utf-8")
    before = fingerprints(tmp_path)
    with pytest.raises(SimulationError, match=r"already holds clients.parquet, .*give another folder"):
        simulate(tmp_path, 30, months=1)
    assert fingerprints(tmp_path) == before
    simulate(tmp_path, 30, months=1, overwrite=True)
    after = fingerprints(tmp_path)
    assert after["notes.txt"] == before["notes.txt"]
    assert "offers.csv" not in after  # of the other bank's clients
    assert after["clients.parquet"] != before["clients.parquet"]


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "bank").write_text("", encoding="utf-8")
    with pytest.raises(SimulationError, match="is a file; give a folder"):
        simulate(tmp_path / "bank", 20)


def test_nothing_is_left_behind_when_it_breaks_off(tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "bank", 20, months=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_after_every_month(tmp_path):
    told: list[tuple[int, int]] = []
    simulate(tmp_path / "bank", 20, months=3, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_probability_is_the_logistic_of_the_coefficients_that_hold():
    catalog, [month] = read_catalog(DEFAULT), calendar(1)
    retail = populate(200, [month], catalog, Draws(0)).retail
    client = int(np.flatnonzero(retail.active(month.first - 1) & (retail.attributes["age"] > 31))[0])
    retail.attributes["age"][client], retail.attributes["income"][client] = 40, 30_000
    retail.attributes["rating"][client] = 1
    needs = list(retail.behaviour.needs)
    no_links = {name: np.zeros(len(retail), dtype=bool) for name in retail.behaviour.links}
    now = Conditions(retail, slice(client, client + 1), month, no_links)
    opens = retail.behaviour.products["travel_card"].opens
    [calm] = opening_probabilities(now, catalog)[retail.row("travel_card")]
    assert calm == pytest.approx(1 / (1 + np.exp(-opens["base"])), rel=1e-5)

    retail.need_age[needs.index("travel"), client] = 2
    retail.opened[retail.row("credit_card"), client] = month.first - 1000
    strength = retail.behaviour.needs["travel"].strength[2]
    now = Conditions(retail, now.block, month, no_links)
    probability = opening_probabilities(now, catalog)
    log_odds = opens["base"] + strength * opens["need.travel & prime & holds.credit_card"]
    assert probability[retail.row("travel_card")] == pytest.approx(1 / (1 + np.exp(-log_odds)), rel=1e-5)
    assert np.isnan(probability[retail.row("credit_card")])  # held


@pytest.mark.parametrize("word", ["need.holiday", "holds.spaceship", "elderly", "link.cousin", "month.13", "cousin.x"])
def test_a_condition_nobody_knows_is_refused(word):
    content = read_behaviour("retail").model_dump()
    content["products"]["mortgage"]["opens"][f"young & !{word}"] = 1.0
    with pytest.raises(ValidationError, match=rf"condition {word} in 'young & !{word}': there is no such"):
        Behaviour.model_validate(content)
