"""A client's bundle and those of its linked clients as one package."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sheaf.features import Bank, ProfileMatrix, profile_matrices
from sheaf.features.columns.links import tied
from sheaf.simulation import simulate
from sheaf.strategy.plans.packages import Members, Offered, Package, Packager
from sheaf.training import fit, read_sample
from tests.made import QUICK
from tests.strategy.banks import CATALOG

DAY = dt.date(2025, 11, 30)


def offered(*rows: tuple[float, float, float]) -> Offered:
    """Concession, acceptance and EVA of each."""
    return Offered(np.ones(len(rows), dtype=bool), *np.array(rows, dtype=float).T)


def test_what_the_client_adds_to_the_others_counts_when_it_accepts() -> None:
    before, after = offered((0, 0.1, 50.0), (0, 0.2, 10.0)), offered((0, 0.5, 50.0), (0, 0.2, 10.0))
    found = Package(offered((5, 0.4, 100.0)), offered((15, 0.5, 90.0)), before, after)
    assert found.gain == pytest.approx(0.4 * 50)
    assert found.separately == pytest.approx(0.4 * 100 + 0.1 * 50 + 0.2 * 10)
    assert found.together == pytest.approx(0.5 * (90 + 20) + 0.1 * 50 + 0.2 * 10)


def test_who_is_tied_in_several_ways_is_in_the_package_once() -> None:
    ties = {
        "links_employer_of": ["a", "b"],
        "links_owner": ["b", "c"],
        "links_group": ["d"],
        "links_group_of": ["d", "e"],
    }
    found = Members.of(ties, {"owner": "wealth", "staff": "salary_package", "group": "leasing"})
    assert found.client_ids == ("b", "c", "a", "d", "e")
    assert found.relation == ("owner", "owner", "staff", "group", "group")
    assert found.bundle == ("wealth", "wealth", "salary_package", "leasing", "leasing")
    assert Members.of({}, {"owner": "wealth"}) == Members((), (), ())
    with pytest.raises(ValueError, match="there is no relation stuff; did you mean staff"):
        Members.of(ties, {"stuff": "salary_package"})


@dataclass(frozen=True)
class Known:
    """A simulated bank, a model of it, its profiles, and the firm with most staff that may open a payroll."""

    bank: Bank
    packager: Packager
    values: dict[str, np.ndarray]
    firm: str


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder: Path = tmp_path_factory.mktemp("linked") / "bank"
    simulate(folder, 1_000, months=5, seed=4)
    bank = Bank.open(folder)
    sample = read_sample(bank, CATALOG, [dt.date(2025, 9, 30), dt.date(2025, 10, 31)])
    model, _ = fit(sample, CATALOG, QUICK, {"horizon_days": sample.horizon_days})
    packager = Packager(model, CATALOG, "head_office")
    profiles = model.align(ProfileMatrix.join(list(profile_matrices(bank, CATALOG, DAY))))
    column = {name: profiles.values[:, at] for name, at in packager.column.items()}
    staff = np.where(column["held__payroll_agency"] == 0, np.nan_to_num(column["links_employer_of"]), 0)
    values = {name: profiles.values[at : at + 1] for at, name in enumerate(profiles.client_ids)}
    return Known(bank, packager, values, str(profiles.client_ids[int(staff.argmax())]))


def test_the_staff_of_a_firm_are_those_that_its_profile_counts(known: Known) -> None:
    ties = tied(known.bank, DAY, known.firm)
    column = known.packager.column
    for way, others in ties.items():
        assert known.values[known.firm][0, column[way]] == len(others)
    assert known.firm in tied(known.bank, DAY, ties["links_employer_of"][0])["links_employer"]
    assert tied(known.bank, DAY, "nobody") == {}


def test_once_the_employer_has_signed_only_what_tells_of_it_has_moved(known: Known) -> None:
    staff = tied(known.bank, DAY, known.firm)["links_employer_of"]
    values = np.concatenate([known.values[one] for one in staff])
    after = known.packager.after(values, ["staff"] * len(staff), ["payroll_agency"])
    moved = {name for name, at in known.packager.column.items()
             if not np.array_equal(values[:, at], after[:, at], equal_nan=True)}  # fmt: skip
    assert moved == {f"{stem}__payroll_agency" for stem in ("employer_held", "linked_held", "linked_opened")}
    at = known.packager.column
    before = np.nan_to_num(values)
    assert (after[:, at["linked_opened__payroll_agency"]] == before[:, at["linked_opened__payroll_agency"]] + 1).all()
    alone = before[:, at["links_employer"]] == 1
    assert alone.any()
    assert (after[alone, at["employer_held__payroll_agency"]] == 1.0).all()


def test_a_package_is_worth_no_less_than_its_offers_where_the_others_gain(known: Known) -> None:
    staff = tied(known.bank, DAY, known.firm)["links_employer_of"]
    values = np.concatenate([known.values[one] for one in staff])
    many = len(staff)
    found = known.packager.package(
        known.values[known.firm], "payroll_agency", values, ["staff"] * many, ["salary_package"] * many
    )
    assert found.joint.open.all()
    assert found.after.open.any()
    assert (found.together >= found.separately - 1e-9) or found.gain < 0
    order = np.arange(many)[::-1]
    turned = known.packager.package(
        known.values[known.firm], "payroll_agency", values[order], ["staff"] * many, ["salary_package"] * many
    )
    assert (turned.together, turned.separately) == pytest.approx((found.together, found.separately))


@pytest.mark.parametrize("gain", [0.0, 50.0, 5_000.0])
def test_what_is_gained_elsewhere_makes_the_concession_no_smaller(known: Known, gain: float) -> None:
    firm = known.values[known.firm]
    alone = known.packager.offered(firm, ["payroll_agency"])
    joint = known.packager.offered(firm, ["payroll_agency"], gain=np.array([gain]))
    assert joint.concession[0] >= alone.concession[0]
    assert joint.acceptance[0] >= alone.acceptance[0]
    worth = joint.acceptance[0] * (joint.eva[0] + gain)
    assert worth >= alone.acceptance[0] * (alone.eva[0] + gain) - 1e-9
    if gain == 0:
        assert joint.concession[0] == pytest.approx(alone.concession[0])


def test_a_bundle_that_is_not_there_is_told(known: Known) -> None:
    with pytest.raises(
        ValueError, match="there is no bundle 'payrol_agency' in the catalog; did you mean payroll_agency"
    ):
        known.packager.offered(known.values[known.firm], ["payrol_agency"])
