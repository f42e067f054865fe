"""What the log tells becomes the contract's table `offers`, which training reads, and which knows no future."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheaf.features import Bank
from sheaf.features.validation.check import check
from sheaf.serving.decisions import RefusedError, Writer, add_decisions, add_feedback, upgrade
from sheaf.serving.decisions.database import parsed
from sheaf.serving.decisions.outcomes import SCHEMA, Shown, write_outcomes
from tests.made import CATALOG, frames, write
from tests.serving.logged import ASKED, NOW, decision, told

DAY = 86_400.0


def filled(place: str, *entries: tuple[dict[str, Any], list[dict[str, Any]]]) -> list[str]:
    """A log of decisions, each with changes to it and its feedback; their ids."""
    upgrade(parsed(place))
    log, ids = Writer(parsed(place), 9.0), []
    for changes, of_it in entries:
        row = decision(**changes)
        log.do(add_decisions([row]))
        ids.append(row["decision_id"])
        for one in of_it:
            log.do(add_feedback(told(row["decision_id"], **one), NOW))
    log.close()
    return ids


def table(place: str, out: Path, count: Shown = Shown.ANSWERED) -> pd.DataFrame:
    written = write_outcomes(parsed(place), out, count)
    found = pq.read_table(out)
    assert (found.num_rows, found.schema) == (written, SCHEMA)
    return found.to_pandas()


def test_every_bundle_of_an_answer_is_an_offer_with_what_became_of_it(place: str, tmp_path: Path) -> None:
    [one, two] = filled(
        place,
        ({}, [{"outcome": "shown", "after": 5}, {"outcome": "accepted", "after": 3 * DAY}]),
        ({"client_id": "c0002", "channel": None}, [{"bundle_id": "home", "outcome": "ignored", "after": 60}]),
    )
    found = table(place, tmp_path / "offers.parquet")
    day, later = ASKED.date(), ASKED.date() + dt.timedelta(days=3)
    expected = [
        (f"{one}/home", "c0001", "home", day, "app", None, None, None, None, None),
        (f"{one}/card", "c0001", "card", day, "app", None, None, 12.5, "accepted", later),
        (f"{one}/insurance", "c0001", "insurance", day, "app", None, None, 0.0, None, None),
        (f"{two}/home", "c0002", "home", day, None, None, None, None, "ignored", day),
        (f"{two}/card", "c0002", "card", day, None, None, None, 12.5, None, None),
        (f"{two}/insurance", "c0002", "insurance", day, None, None, None, 0.0, None, None),
    ]
    assert [tuple(None if pd.isna(value) else value for value in row) for row in found.to_numpy()] == expected


def test_the_chance_of_a_list_is_not_the_chance_of_its_prices(place: str, tmp_path: Path) -> None:
    """The service computes its prices: whatever the chance of the list, a price has one only where it was drawn."""
    drawn = {"price_propensity": json.dumps({"card": 0.25})}
    filled(place, *(({"list_propensity": chance}, []) for chance in (1.0, 0.715, 0.015)), ({**drawn}, []))
    found = table(place, tmp_path / "offers.parquet")
    assert found.loc[found["list_propensity"].notna(), "list_propensity"].tolist() == [0.715] * 3 + [0.015] * 3
    chances = found[found["price_propensity"].notna()]
    assert chances[["bundle_id", "price_propensity"]].to_numpy().tolist() == [["card", 0.25]]


def test_only_what_was_reported_counts_from_the_first_report_on(place: str, tmp_path: Path) -> None:
    shown = [{"outcome": "shown", "after": DAY}, {"outcome": "shown", "after": 2 * DAY}]
    filled(place, ({}, [*shown, {"outcome": "rejected", "after": 3 * DAY}]), ({}, []))
    [row] = table(place, tmp_path / "offers.parquet", Shown.REPORTED).to_dict("records")
    days = [ASKED.date() + dt.timedelta(days=after) for after in (1, 3)]
    assert [row["bundle_id"], row["offered_at"], row["outcome"], row["responded_at"]] == [
        "card", days[0], "rejected", days[1]
    ]  # fmt: skip


def test_days_are_those_of_utc(place: str, tmp_path: Path) -> None:
    west = dt.datetime(2025, 6, 1, 22, 30, tzinfo=dt.timezone(dt.timedelta(hours=-5)))  # 2 June in UTC
    filled(place, ({"asked_at": west}, []))
    assert set(table(place, tmp_path / "offers.parquet")["offered_at"]) == {dt.date(2025, 6, 2)}


def test_clocks_that_differ_by_seconds_date_no_answer_before_its_offer(place: str, tmp_path: Path) -> None:
    midnight = dt.datetime(2025, 6, 3, tzinfo=dt.UTC)
    at = midnight - dt.timedelta(seconds=2)
    filled(place, ({"asked_at": midnight}, [{"outcome": "accepted", "at": at}]))
    for count in Shown:
        found = table(place, tmp_path / "offers.parquet", count)
        [row] = found[found["outcome"].notna()].to_dict("records")
        assert row["offered_at"] == row["responded_at"] == midnight.date()


def test_who_is_no_client_yet_has_no_row(place: str, tmp_path: Path) -> None:
    filled(place, ({"client_id": None, "new_client": json.dumps({"kind": "retail"})}, []))
    (tmp_path / "offers.parquet").write_text("as it was")
    with pytest.raises(ValueError, match="has no offer to a client of the bank yet; nothing was written"):
        write_outcomes(parsed(place), tmp_path / "offers.parquet")
    assert (tmp_path / "offers.parquet").read_text() == "as it was"


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(match=r"nowhere\.db cannot be read: .*SHEAF_DECISIONS"):
        write_outcomes(parsed(str(tmp_path / "nowhere.db")), tmp_path / "offers.parquet")
    assert list(tmp_path.iterdir()) == []


def test_the_check_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    place, bank = str(tmp_path / "decisions.db"), tmp_path / "bank"
    write(bank, frames())
    filled(place, ({}, [{"outcome": "accepted"}]), ({"client_id": "c0002"}, [{"outcome": "shown"}]))
    for count in Shown:
        write_outcomes(parsed(place), bank / "offers.parquet", count)
        assert check(bank, CATALOG) == []


steps = st.lists(
    st.tuples(st.sampled_from(["shown", "accepted", "rejected", "ignored"]), st.sampled_from(["home", "card"]),
              st.floats(0, 20)),
    max_size=6,
)  # fmt: skip


@settings(max_examples=25)
@given(steps=steps, cut=st.integers(0, 20))
def test_what_comes_after_a_day_changes_nothing_that_was_known_on_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, float]], cut: int
) -> None:
    """The table written on the day and the one written later are the same as of the day."""
    day = ASKED.date() + dt.timedelta(days=cut)
    until = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
    taken: list[dict[str, Any]] = []
    upgrade(parsed(scratch := str(tmp_path_factory.mktemp("log") / "decisions.db")))
    log, row = Writer(parsed(scratch), 9.0), decision()
    log.do(add_decisions([row]))
    for outcome, bundle, days in sorted(steps, key=lambda step: step[2]):
        one: dict[str, Any] = {"outcome": outcome, "after": days * DAY, "bundle_id": bundle}
        try:
            log.do(add_feedback(told(row["decision_id"], **one), NOW))
        except RefusedError:
            continue
        taken.append(one)
    log.close()
    known = [one for one in taken if ASKED + dt.timedelta(seconds=one["after"]) < until]
    folder = tmp_path_factory.mktemp("offers")
    filled(str(folder / "then.db"), (row, known))
    for count in Shown:
        as_of = []
        for place in (str(folder / "then.db"), scratch):
            try:
                offers = table(place, folder / "offers.parquet", count)
            except ValueError:
                offers = SCHEMA.empty_table().to_pandas()
            seen = Bank.of(**frames(), offers=offers).known_on(day)["offers"].collect().to_pandas()
            as_of.append(seen.sort_values("offer_id").reset_index(drop=True))
        pd.testing.assert_frame_equal(*as_of, check_dtype=False)
