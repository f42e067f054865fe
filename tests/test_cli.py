"""The `sheaf` command as its users meet it: what it writes, what it says, and how it ends."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

import sheaf.cli as sheaf_cli
from sheaf.catalog import read_catalog
from sheaf.cli.offers import offers_table
from sheaf.features import write_parquet
from sheaf.serving.decisions import Writer, add_decisions
from sheaf.serving.decisions.database import parsed
from sheaf.training import Model, registry
from tests.conftest import ROOT
from tests.made import CATALOG, DAYS, LAST_DAY, OFFERS, frames, write, write_catalog
from tests.serving.logged import decision
from tests.training.test_attrition import DAYS as LEAVE_DAYS
from tests.training.test_attrition import frames as leavers
from tests.training.test_price_response import tables
from tests.training.test_value_order import priced


@dataclass(frozen=True)
class Ended:
    """How a command ended; `out` and `err` have single spaces, since a console breaks lines where it likes."""

    code: int
    out: str
    err: str


Sheaf = Callable[..., Ended]


@pytest.fixture
def sheaf(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sheaf:
    """Runs `sheaf` in a folder of its own."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the command replaces it

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sheaf", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            sheaf_cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err + told.out
        return Ended(int(ended.value.code or 0), " ".join(told.out.split()), " ".join(told.err.split()))

    return run


@pytest.fixture
def bank(made_folder: Path) -> list[str | Path]:
    """The options that name the made bank and its catalog."""
    return ["--data", made_folder / "bank", "--catalog", made_folder / "catalog.yaml"]


@pytest.fixture
def champion(workplace: Path, model: Model) -> Model:
    """In the registry of this folder."""
    registry.crown(registry.record(model, {}, {}, {}, {}), registry.CHAMPION)
    return model


def test_the_catalog_of_these_tests_can_be_written_as_yaml(made_folder: Path) -> None:
    assert read_catalog(made_folder / "catalog.yaml") == CATALOG


def test_a_table_under_a_wrong_name_is_told(sheaf: Sheaf, made_folder: Path, tmp_path: Path) -> None:
    copytree(made_folder / "bank", tmp_path / "misnamed")
    (tmp_path / "misnamed" / "transaction.csv").write_text("client_id,booked_at,amount\n")
    checked = sheaf("check", tmp_path / "misnamed", "--catalog", made_folder / "catalog.yaml")
    assert checked.code == 0
    assert "Not read, as no table has that name: transaction.csv." in checked.out


def test_from_tables_to_offers(sheaf: Sheaf, bank: list[str | Path], made_folder: Path, workplace: Path) -> None:
    checked = sheaf("check", made_folder / "bank", "--catalog", made_folder / "catalog.yaml")
    assert (checked.code, "all tables are as the contract says" in checked.out) == (0, True)
    assert "Tables: clients, holdings" in checked.out

    days = [argument for day in DAYS for argument in ("--as-of", str(day))]
    trained = sheaf("train", *bank, *days, "--horizon-days", "30", "--parameters", made_folder / "quick.yaml")
    assert trained.code == 0, trained.err
    assert "by a model of earlier days only, in order of time" in trained.out
    assert "Registered as version 1, alias champion." in trained.out
    assert re.search(r"│ all +│ +\d[\d,]* │( +[01]\.\d{4} │){5}", trained.out), trained.out
    for label in ("line", "clients", "retail", "institution"):
        assert re.search(rf"│ {label} +│", trained.out), trained.out

    misnamed = sheaf("rank", *bank, "--as-of", str(LAST_DAY), "--out", "ranks.csv")
    assert (misnamed.code, "would hold Parquet" in misnamed.err) == (2, True)
    ranked = sheaf("rank", *bank, "--as-of", str(LAST_DAY), "--out", "out/ranks.parquet", "--top", "2")
    assert (ranked.code, "for 500 clients as of 2025-12-31 are in out/ranks.parquet" in ranked.out) == (0, True)
    rows = pq.read_table("out/ranks.parquet").to_pandas()
    assert list(rows.columns) == ["client_id", "rank", "bundle_id", "score", "probability"]
    assert set(rows["rank"]) == {1, 2}
    assert set(rows["bundle_id"]) <= set(OFFERS)

    best = rows[rows["client_id"] == "c0001"].sort_values("rank")["bundle_id"].iloc[0]
    name = next(offer.name for offer in CATALOG.offers if offer.bundle_id == best)
    shown = sheaf("recommend", "c0001", *bank, "--top", "1")
    assert shown.code == 0
    assert "Client c0001: what to offer next, within 30 days of 2025-12-31" in shown.out
    assert name.split()[0] in shown.out

    laid_out = sheaf("serve", *bank, "--prepare-only")
    assert (laid_out.code, "Next: bentoml build" in laid_out.out) == (0, True)
    assert (workplace / "mlruns/serving/model/manifest.json").is_file()
    assert sheaf("recommend", "c0001", "--top", "1").out == shown.out  # from what the service has
    assert {path.name for path in workplace.iterdir()} == {"mlruns", "out"}


@pytest.mark.usefixtures("champion")
def test_profiles_for_people_and_for_the_service(sheaf: Sheaf, bank: list[str | Path]) -> None:
    ended = sheaf("profile", *bank, "--as-of", "2025-11-30", "--out", "p/profiles.parquet", "--snapshot", "p/snapshot")
    assert (ended.code, "Profiles as of 2025-11-30 are in p/profiles.parquet and p/snapshot." in ended.out) == (0, True)
    rows = pd.read_parquet("p/profiles.parquet")
    assert rows["client_id"].is_monotonic_increasing
    assert len(rows) == 500
    assert "need" in rows
    assert {path.name for path in Path("p/snapshot").iterdir()} == {"profiles.json", "clients.npy", "values.f32"}


def test_a_simulated_bank_passes_the_check(sheaf: Sheaf) -> None:
    made = sheaf("simulate", "bank", "--clients", "60", "--months", "3", "--seed", "4")
    assert (made.code, "A bank of 60 clients over 3 months lies in bank." in made.out) == (0, True)
    assert sheaf("check", "bank").code == 0
    twice = sheaf("simulate", "bank", "--clients", "60", "--months", "3")
    assert twice.code == 1
    assert "Error:" in twice.err
    assert sheaf("simulate", "bank", "--clients", "50", "--months", "3", "--overwrite").code == 0


def test_bundles_are_proposed_and_the_catalog_stays_as_it_was(sheaf: Sheaf, made_folder: Path) -> None:
    tables = frames(3_000)
    joint = tables["holdings"].query("product_id == 'exchange'").assign(product_id="overdraft")
    tables["holdings"] = pd.concat([tables["holdings"], joint]).drop_duplicates(
        ["client_id", "product_id", "opened_on"]
    )
    bank = write(Path("bank"), tables)
    catalog = Path("catalog") / "all.yaml"
    catalog.parent.mkdir()
    before = write_catalog(catalog).read_bytes()
    asked = ["discover", "--data", bank, "--catalog", "catalog"]
    told = sheaf(*asked, "--out", "proposals/new.yaml", "--top", "3")
    assert told.code == 0, told.err
    assert "New bundles" in told.out
    assert re.search(r"1 of 1 bundles and 0 of 0 linked offers, of \d+ sets tried among 3,000 clients on 2025-12-31, "
                     r"are in proposals/new.yaml\. The catalog is as it was\.", told.out)  # fmt: skip
    assert re.search("exchange_with_overdraft|overdraft_with_exchange", Path("proposals/new.yaml").read_text())
    inside = sheaf(*asked, "--out", "catalog/new.yaml")
    assert (inside.code, "is part of the catalog, which only a person changes" in inside.err) == (1, True)
    early = sheaf(*asked, "--out", "other.yaml", "--as-of", "1999-01-01")
    assert (early.code, "no client is active on 1999-01-01" in early.err) == (1, True)
    unmeant = sheaf(*asked, "--out", "other.yaml", "--least-support", "5")
    assert (unmeant.code, "least_support is 5, which is no share" in unmeant.err) == (1, True)
    assert catalog.read_bytes() == before
    assert {path.name for path in Path.cwd().iterdir()} == {"bank", "catalog", "mlruns", "proposals"}


@pytest.mark.usefixtures("champion")
def test_cohorts_say_who_is_trained_on(sheaf: Sheaf, bank: list[str | Path], made_folder: Path) -> None:
    ids = frames()["clients"]["client_id"][:400]
    pd.DataFrame({"client_id": ids, "as_of": str(DAYS[1])}).to_csv("cohorts.csv", index=False)
    asked = ["train", *bank, "--as-of", str(DAYS[1]), "--parameters", made_folder / "quick.yaml", "--cohorts"]
    trained = sheaf(*asked, "cohorts.csv")
    assert trained.code == 0
    assert re.search(r"NDCG@5 of this model [01]\.\d{4}, of the champion [01]\.\d{4}; difference between", trained.out)
    assert "Registered as version 2, alias ch" in trained.out
    run = registry.client().get_run(str(registry.client().get_model_version(registry.NAME, "2").run_id))
    assert 0 < int(run.data.params["trained_clients"]) < 400
    Path("garbage.parquet").write_text("not Parquet")
    pd.DataFrame({"client": ids}).to_parquet("other.parquet")
    for file, message in (
        ("absent.csv", "absent.csv: no such file"),
        ("garbage.parquet", "garbage.parquet"),
        ("other.parquet", "required columns are missing: ['client_id', 'as_of']"),
    ):
        ended = sheaf(*asked, file)
        assert (ended.code, message in ended.err) == (1, True), ended.err


@pytest.mark.parametrize("verb", ["check", "discover", "profile", "train", "rank", "recommend"])
@pytest.mark.usefixtures("champion")
def test_a_folder_that_is_not_there_is_named(sheaf: Sheaf, verb: str) -> None:
    options: dict[str, list[str]] = {
        "check": ["nowhere"],
        "discover": ["--data", "nowhere", "--out", "r.parquet"],
        "profile": ["--data", "nowhere", "--out", "p.parquet"],
        "train": ["--data", "nowhere"],
        "rank": ["--data", "nowhere", "--as-of", "2025-11-30", "--out", "r.parquet"],
        "recommend": ["C1", "--data", "nowhere"],
    }
    ended = sheaf(verb, *options[verb])
    assert ended.code == 1
    assert "nowhere" in ended.err + ended.out
    assert not Path("r.parquet").exists()
    assert not Path("p.parquet").exists()


@pytest.mark.parametrize("verb", ["check", "discover", "profile", "train", "rank", "recommend", "serve"])
@pytest.mark.usefixtures("champion")
def test_a_bad_catalog_is_told_with_its_line(sheaf: Sheaf, made_folder: Path, verb: str) -> None:
    Path("catalog.yaml").write_text("products:\n  card: {name: Card, line: space, family: f, where: {age: 3}}\n")
    data: list[str | Path] = ["--data", made_folder / "bank"]
    options: dict[str, list[str | Path]] = {
        "check": [made_folder / "bank"],
        "discover": [*data, "--out", "r.yaml"],
        "profile": [*data, "--out", "p.parquet"],
        "train": data,
        "rank": [*data, "--as-of", "2025-11-30", "--out", "r.parquet"],
        "recommend": ["c0001", *data],
        "serve": data,
    }
    ended = sheaf(verb, *options[verb], "--catalog", "catalog.yaml")
    assert ended.code == 1
    assert "catalog.yaml:2: products.card.line" in ended.err
    assert "for a number or [a, b] for texts" in ended.err  # brackets and all


@pytest.mark.parametrize("verb", ["rank", "recommend", "serve"])
def test_without_a_champion_the_way_to_one_is_told(sheaf: Sheaf, bank: list[str | Path], verb: str) -> None:
    more: dict[str, list[str]] = {
        "rank": ["--as-of", "2025-11-30", "--out", "r.parquet"], "recommend": ["c0001"], "serve": ["--prepare-only"]
    }  # fmt: skip
    ended = sheaf(verb, *bank, *more[verb])
    assert ended.code == 1
    assert "there is no champion in sqlite:" in ended.err
    assert "run `sheaf train` first" in ended.err


@pytest.mark.usefixtures("champion")
def test_a_day_without_clients_or_openings_is_told(sheaf: Sheaf, bank: list[str | Path]) -> None:
    late = sheaf("train", *bank, "--as-of", "2026-03-01")
    assert (late.code, "as-of 2026-03-01: the last opening in table holdings is of 2025-12-31" in late.err) == (1, True)
    early = sheaf("train", *bank, "--as-of", "1999-01-01")
    assert (early.code, "as-of 1999-01-01: no client of the cohort is active" in early.err) == (1, True)
    nobody = sheaf("rank", *bank, "--as-of", "1999-01-01", "--out", "r.parquet")
    assert (nobody.code, "no client is active on 1999-01-01" in nobody.err) == (1, True)
    assert not Path("r.parquet").exists()


@pytest.mark.usefixtures("champion")
def test_an_unknown_client_is_named(sheaf: Sheaf, bank: list[str | Path]) -> None:
    for day in ("2025-12-31", "1999-01-01"):
        ended = sheaf("recommend", "nobody", *bank, "--as-of", day)
        assert ended.code == 1
        assert f"no client 'nobody' in the profiles of {day}" in ended.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rounds: many", "p.yaml: rounds: "),
        ("[", "p.yaml: cannot be read as YAML"),
        (None, "p.yaml: there is no such file"),
    ],
)
def test_a_bad_parameters_file_is_named(
    sheaf: Sheaf, bank: list[str | Path], content: str | None, message: str
) -> None:
    if content is not None:
        Path("p.yaml").write_text(content)
    ended = sheaf("train", *bank, "--parameters", "p.yaml")
    assert (ended.code, message in ended.err) == (1, True), ended.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "adoption.learnig_rate: {type: float, low: 0.1, high: 0.2}",
            "s.yaml: adoption.learnig_rate: 0.1: LightGBM knows",
        ),
        ("[", "s.yaml: cannot be read as YAML"),
        (None, "s.yaml: there is no such file"),
    ],
)
def test_a_bad_search_space_is_named(sheaf: Sheaf, bank: list[str | Path], content: str | None, message: str) -> None:
    if content is not None:
        Path("s.yaml").write_text(content)
    ended = sheaf("tune", *bank, "--space", "s.yaml")
    assert (ended.code, message in ended.err) == (1, True), ended.err


def test_a_study_that_cannot_start_says_why_and_leaves_no_file(sheaf: Sheaf, bank: list[str | Path]) -> None:
    for options, message in (
        (["--figure", "auc"], "there is no figure auc"),
        (["--study", "a/b", "--as-of", str(DAYS[1])], "--study a/b: a name is of letters, digits"),
        (["--as-of", "2026-03-01"], "as-of 2026-03-01: the last opening in table holdings is of 2025-12-31"),
    ):
        ended = sheaf("tune", *bank, *options)
        assert (ended.code, message in ended.err) == (1, True), ended.err
    assert not Path("tuned.yaml").exists()
    Path("tuned.yaml").write_text("rounds: 2")
    ended = sheaf("tune", *bank, "--parameters", "tuned.yaml")  # written over, it would be another study's next time
    assert (ended.code, "--out and --parameters are the same file" in ended.err) == (1, True), ended.err
    assert Path("tuned.yaml").read_text() == "rounds: 2"


def test_parameters_that_lightgbm_refuses_are_told(sheaf: Sheaf, bank: list[str | Path]) -> None:
    Path("p.yaml").write_text("adoption: {num_leaves: 1}\nrounds: 2\n")
    ended = sheaf("train", *bank, "--as-of", str(DAYS[1]), "--parameters", "p.yaml")
    assert ended.code == 1
    assert "num_leaves" in ended.err


def test_everything_wrong_with_the_tables_is_told_and_training_does_not_trip_over_it(sheaf: Sheaf) -> None:
    tables = frames(60)
    tables["holdings"] = tables["holdings"].astype({"opened_on": "str"})
    tables["holdings"].loc[3, "opened_on"] = "soon"
    tables["holdings"].loc[4, "product_id"] = "unheard_of"
    write(Path("bank"), tables)
    write_catalog(Path("catalog.yaml"))
    checked = sheaf("check", "bank", "--catalog", "catalog.yaml")
    assert checked.code == 1
    assert "opened_on" in checked.out
    assert "unheard_of" in checked.out
    trained = sheaf("train", "--data", "bank", "--catalog", "catalog.yaml", "--as-of", str(DAYS[0]))
    assert trained.code == 1
    assert "soon" in trained.err


def test_a_bundle_is_quoted_and_its_curve_drawn(sheaf: Sheaf) -> None:
    assert sheaf("simulate", "bank", "--clients", "60", "--months", "3", "--seed", "4").code == 0
    clients, holdings = (pd.read_parquet(f"bank/{name}.parquet") for name in ("clients", "holdings"))
    has = set(holdings.loc[holdings["product_id"] == "travel_card", "client_id"])
    client = next(
        row.client_id for row in clients.itertuples()
        if row.kind == "retail" and pd.isna(row.left_on) and row.client_id not in has
    )  # fmt: skip
    quoted = sheaf("quote", client, "travel_card", "--data", "bank", "--curve", "pictures/curve.png",
                   "--with", "travel_card.fee=40", "--concession", "4")  # fmt: skip
    assert quoted.code == 0, quoted.err
    assert f"Travel card for client {client}, EUR a year" in quoted.out
    assert "│ 40.00 │ 36.00 │ percent │ 40.00 │ 4.00 │ 36.00 │" in quoted.out
    assert "The curve is in pictures/curve.png." in quoted.out
    assert Path("pictures/curve.png").stat().st_size > 1000
    nobody = sheaf("quote", "nobody", "travel_card", "--data", "bank")
    assert (nobody.code, "there is no client 'nobody' on" in nobody.err) == (1, True)
    unrated = sheaf("quote", client, "travel_card", "--data", "bank", "--rating", "")
    assert (unrated.code, "rating '' is not in the catalog's grades" in unrated.err) == (1, True)
    fees = ("--with", "travel_card.fee=40", "--with", "travel_card.fee=50")
    twice = sheaf("quote", client, "travel_card", "--data", "bank", *fees)
    assert (twice.code, "--with travel_card.fee: is given more than once" in twice.err) == (1, True), twice.err
    empty = sheaf("quote", client, "travel_card", "--data", "bank", "--with", "travel_card.fee")
    assert (empty.code, "--with travel_card.fee: has no value" in empty.err) == (1, True)


def test_a_quote_and_a_route_say_first_that_the_client_may_not_have_the_bundle(sheaf: Sheaf) -> None:
    assert sheaf("simulate", "bank", "--clients", "300", "--months", "3", "--seed", "4").code == 0
    clients = pd.read_parquet("bank/clients.parquet")
    firms = clients[(clients["kind"] == "corporate") & clients["left_on"].isna()]
    builder, farmer = (
        firms.loc[firms["sector"] == sector, "client_id"].iloc[0] for sector in ("construction", "agriculture")
    )
    failed = "gate eligible failed: sector is construction, and has to be one of agriculture"
    quoted = sheaf("quote", builder, "farmer", "--data", "bank")
    assert quoted.code == 0, quoted.err
    assert quoted.out.startswith(f"what-if, not to be offered: {failed}")
    assert "acceptance at list price is the policy's assumption, not the model's" in quoted.out
    assert "failed" not in sheaf("quote", farmer, "farmer", "--data", "bank").out
    assert sheaf("plan", builder, "farmer", "--data", "bank").out.startswith(failed)
    assert "gate eligible passed" in sheaf("plan", farmer, "farmer", "--data", "bank").out


def test_without_a_price_sheet_there_is_no_quote(sheaf: Sheaf, bank: list[str | Path]) -> None:
    ended = sheaf("quote", "c0001", "home", *bank)
    assert (ended.code, "the catalog made has no price sheet, so nothing can be quoted" in ended.err) == (1, True)


@pytest.mark.usefixtures("champion")
def test_a_price_response_is_learned_and_quotes_go_by_it(sheaf: Sheaf, made_folder: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "offering", tables())
    options = ["--data", folder, "--catalog", write_catalog(tmp_path / "priced.yaml", priced())]
    before = sheaf("quote", "c0001", "home", *options)
    assert "assumed by policy, not learned: elasticity 2, around the model's probability" in before.out
    row = sheaf("recommend", "c0001", *options, "--objective", "value").out
    assert re.search(r"then ([\d.]+%) accept", row)
    supposed = sheaf("quote", "c0001", "home", *options, "--with", "acceptance=0.3")
    assert "30% accept at list price" in supposed.out
    learned = sheaf("price-response", *options, "--parameters", made_folder / "quick.yaml")
    assert learned.code == 0, learned.err
    assert "each weighed by the logged chance of its price" in learned.out
    assert "Registered as version 1, alias champion." in learned.out
    after = sheaf("quote", "c0001", "home", *options)
    assert (after.code, "learned (logit) from" in after.out) == (0, True)
    ranked = sheaf("rank", *options, "--as-of", str(LAST_DAY), "--out", "worth.parquet", "--objective", "value")
    assert ranked.code == 0, ranked.err
    assert sheaf("serve", *options, "--prepare-only").code == 0
    assert Path("mlruns/serving/price_response/response.json").is_file()
    shown = sheaf("recommend", "c0001", "--objective", "value", "--top", "1")
    assert shown.out == sheaf("recommend", "c0001", *options, "--objective", "value", "--top", "1").out
    most = sheaf("recommend", "c0001", "--objective", "value", "--top", "1", "--authority", "head_office")
    assert (most.code, most.out != shown.out) == (0, True)
    early = sheaf("quote", "c0001", "home", *options, "--as-of", "2025-12-01")
    assert "assumed by policy, not learned" in early.out
    assert "learned from answers up to 2025-12-31, which nobody knew on 2025-12-01" in early.err


def test_without_offers_or_prices_no_price_response_is_learned(
    sheaf: Sheaf, bank: list[str | Path], made_folder: Path, tmp_path: Path
) -> None:
    ended = sheaf("price-response", *bank)
    assert (ended.code, "has no price sheet" in ended.err) == (1, True)
    catalog = write_catalog(tmp_path / "priced.yaml", priced())
    ended = sheaf("price-response", "--data", made_folder / "bank", "--catalog", catalog)
    assert (ended.code, "table offers is missing, so there is no answer to any price" in ended.err) == (1, True)


def test_profiles_have_to_go_somewhere(sheaf: Sheaf, bank: list[str | Path]) -> None:
    ended = sheaf("profile", *bank)
    assert (ended.code, "say where the profiles shall go: --out" in ended.err) == (1, True)
    ended = sheaf("profile", *bank[:2], "--serve")
    assert (ended.code, "nothing is laid out to serve" in ended.err) == (1, True)


def test_the_decision_log_becomes_offers(sheaf: Sheaf, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHEAF_DECISIONS", str(workplace / "log.db"))
    none = sheaf("outcomes", "--out", "offers.parquet")
    assert (none.code, "SHEAF_DECISIONS" in none.err) == (1, True)
    for _ in range(2):
        made = sheaf("decisions", "upgrade")
        assert (made.code, "log.db has schema 0006" in made.out) == (0, True)
    assert "has no offer to a client of the bank yet" in sheaf("outcomes", "--out", "offers.parquet").err
    log = Writer(parsed(str(workplace / "log.db")))
    log.do(add_decisions([decision()]))
    log.close()
    written = sheaf("outcomes", "--out", "offers.parquet")
    assert (written.code, "3 offers are in offers.parquet" in written.out) == (0, True)
    assert pq.read_table("offers.parquet").num_rows == 3


def test_a_service_without_anything_to_serve_does_not_start(sheaf: Sheaf) -> None:
    ended = sheaf("serve")
    assert (ended.code, "nothing is laid out to serve" in ended.err) == (1, True)
    assert sheaf("recommend", "c0001").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["rank", "--data", "x"],
        ["rank", "--data", "x", "--as-of", "30.11.2025", "--out", "r"],
        ["rank", "--data", "x", "--as-of", "2025-11-30", "--out", "r", "--top", "0"],
        ["train", "--data", "x", "--horizon-days", "0"],
        ["tune", "--data", "x", "--trials", "0"],
        ["tune", "--data", "x", "--folds", "5"],
        ["scorecard", "--data", "x", "--out", "card.txt"],
        ["scorecard", "--data", "x", "--month", "12/2025"],
        ["serve", "--port", "0"],
        ["simulate", "b", "--clients", "0"],
    ],
)
def test_wrong_usage_is_told_with_the_usage(sheaf: Sheaf, arguments: list[str]) -> None:
    ended = sheaf(*arguments)
    assert ended.code == 2
    assert "Usage: " in ended.err


def test_brackets_in_names_are_part_of_the_names() -> None:
    part = {"name": "Card [gold]", "held": False, "probability": 0.25}
    held = {"name": "Account [/plus]", "held": True, "probability": None}
    offer = {"rank": 1, "name": "Two [of] them", "line": "retail", "probability": 0.25, "score": 1.0, "why": "",
             "products": [part, held], "reasons": ["Sector: [b2b]"]}  # fmt: skip
    answer = {"offers": [offer], "horizon_days": 31, "profile_day": "2025-12-31", "model_version": "m",
              "catalog_version": "c"}  # fmt: skip
    console = Console(record=True, width=200)
    console.print(offers_table(answer, "Client [a]"))
    shown = console.export_text()
    for name in ("Client [a]", "Two [of] them", "Card [gold] 25.0%", "Account [/plus]", "Sector: [b2b]"):
        assert name in shown


def test_who_is_about_to_leave_is_learned_and_listed(sheaf: Sheaf, workplace: Path) -> None:
    bank = ["--data", write(workplace / "bank", leavers(900))]
    profiled = ["--profiles", "profiles.parquet", "--as-of", str(LAST_DAY)]
    assert sheaf("profile", *bank, "--as-of", str(LAST_DAY), "--out", "profiles.parquet").code == 0
    untold = sheaf("clients", "leaving", *profiled)
    assert (untold.code, "run `sheaf attrition --data DIR` first" in untold.err) == (1, True)
    days = [argument for day in LEAVE_DAYS for argument in ("--as-of", str(day))]
    learned = sheaf("attrition", *bank, *days, "--horizon-days", "30")
    assert learned.code == 0, learned.err
    assert re.search(r"\d+ of \d+ clients left within 30 days, \d+ were expected. AUC 0\.\d{3}", learned.out)
    assert "Registered as version 1, alias champion." in learned.out
    listed = sheaf("clients", "leaving", *profiled, "--out", "leaving.csv", "--top", "1")
    assert (listed.code, "on the list" in listed.out) == (0, True), listed.err
    rows = pd.read_csv("leaving.csv")
    assert list(rows["client_id"]) == list(rows["client_id"].unique())
    assert {"action", "rule", "leaving", "stake", "at_risk", "because", "change"} <= set(rows.columns)

    won = sheaf("clients", "win", *profiled, *bank, "--out", "win.parquet")
    assert (won.code, "0 rows are in win.parquet" in won.out) == (0, True), won.err
    for arguments, message in (
        (("win", *profiled), "win wants --data"),
        (("repair", *profiled), "name them with --offers"),
        (("leaving", *profiled, "--last", "x"), "--last is the repair list of last time"),
        (("leaving", *profiled[:3], "2025-12-01"), "which nobody knew on 2025-12-01"),
    ):
        refused = sheaf("clients", *arguments)
        assert (refused.code, message in refused.err) == (1, True), refused.err
    assert sheaf("clients", "leaving", *profiled, "--out", "x.xlsx").code == 2
    nobody = sheaf("attrition", "--data", write(workplace / "few", leavers(5)))
    assert (nobody.code, "left within the horizon; a model needs" in nobody.err) == (1, True), nobody.err


VERBS = sorted(
    command.name or command.callback.__name__ for command in sheaf_cli.app.registered_commands if command.callback
)


def test_these_are_the_verbs() -> None:
    assert VERBS == [
        "attrition", "audit", "book", "check", "clients", "demo", "discover", "outcomes", "plan", "price-response",
        "profile", "quote", "rank", "recommend", "scorecard", "serve", "simulate", "train", "tune",
    ]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    shown = CliRunner().invoke(sheaf_cli.app, [verb, "--help"], prog_name="sheaf")
    assert shown.exit_code == 0
    assert f"Usage: sheaf {verb}" in shown.output
    assert "--help" in shown.output


def test_a_fault_of_our_own_shows_where(sheaf: Sheaf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sheaf.cli.bank.read_catalog", lambda path: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["sheaf", "check", "bank"])
    with pytest.raises(ZeroDivisionError):
        sheaf_cli.main()


def test_the_command_starts_without_what_it_does_not_need() -> None:
    """So that `sheaf --help` answers at once: each verb imports what it uses."""
    heavy = "{'bentoml', 'duckdb', 'lightgbm', 'matplotlib', 'mlflow', 'pandas', 'sklearn'}"
    program = f"import sys, cli; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_an_error_in_a_process_of_its_own(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sheaf", "simulate", "bank", "--months", "300"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "Error: 300 months cannot be simulated" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def small_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a simulated `bank/` and its `profiles.parquet` as of 2025-12-31."""
    from sheaf.catalog import DEFAULT
    from sheaf.features import Bank, profile_tables, write_parquet
    from sheaf.simulation import simulate

    folder = tmp_path_factory.mktemp("small")
    simulate(folder / "bank", 150, months=3, seed=1)
    tables = profile_tables(Bank.open(folder / "bank"), read_catalog(DEFAULT), LAST_DAY)
    write_parquet(folder / "profiles.parquet", tables)
    return folder


def test_plans_of_all_clients_and_then_of_one(sheaf: Sheaf, small_bank: Path) -> None:
    those = ["--profiles", small_bank / "profiles.parquet", "--as-of", str(LAST_DAY)]
    ended = sheaf("plan", *those, "--out", "plans.parquet")
    assert (ended.code, "By policy Default strategy" in ended.out) == (0, True)
    rows = pd.read_parquet("plans.parquet")
    assert len(rows) == len(pd.read_parquet(small_bank / "profiles.parquet", columns=["client_id"]))
    assert set(rows["tier"]) <= {"key", "core", "standard", "basic"}

    again = sheaf("plan", *those, "--previous", "plans.parquet", "--out", "again.parquet")
    assert again.code == 0
    pd.testing.assert_frame_equal(*(frame.sort_values("client_id", ignore_index=True) for frame in
                                    (rows, pd.read_parquet("again.parquet"))))  # fmt: skip

    firm = rows[rows["type"] == "corporate"].iloc[0]
    bank = ["--data", small_bank / "bank", "--as-of", str(LAST_DAY)]
    shown = sheaf("plan", firm["client_id"], *bank, "--previous", "plans.parquet")
    assert shown.code == 0, shown.err
    assert f"Client {firm['client_id']} as of 2025-12-31" in shown.out
    assert f"│ tier │ {firm['tier']} │" in shown.out
    held = pd.read_parquet(small_bank / "profiles.parquet", columns=["client_id", "kind", "held__leasing"])
    without = held[(held["kind"] == "corporate") & (held["held__leasing"] == 0)]["client_id"].iloc[0]
    route = sheaf("plan", without, "leasing", *those, "--concession", "5")
    assert (route.code, "account manager may grant that" in route.out) == (0, True)

    ids, bundles = [without, without], ["leasing", "custody"]
    offers = pd.DataFrame({"client_id": ids, "rank": [1, 2], "bundle_id": bundles, "score": [1.0, 2.0],
                           "concession": [0.0, 1.0], "eva": [1.0, 2.0]})  # fmt: skip
    offers.to_parquet("offers.parquet")
    assert sheaf("plan", *those, "--offers", "offers.parquet", "--routes", "routes.parquet").code == 0
    routes = pd.read_parquet("routes.parquet")
    assert routes["client_id"].to_list() == ids
    assert routes["bundle_id"].to_list() == bundles
    assert routes["signs"].to_list()[1] == "account_manager"


def test_files_of_different_days_are_not_read_together(sheaf: Sheaf, small_bank: Path) -> None:
    from sheaf.features import write_parquet

    bank = ["--data", small_bank / "bank"]
    assert sheaf("profile", *bank, "--as-of", "2025-11-30", "--out", "profiles.parquet").code == 0
    offers = pa.table({"client_id": ["x"], "rank": [1], "bundle_id": ["leasing"], "score": [1.0], "concession": [0.0],
                       "eva": [1.0]})  # fmt: skip
    write_parquet(Path("offers.parquet"), [offers], LAST_DAY)
    november, december = ["--profiles", "profiles.parquet"], ["--offers", "offers.parquet"]
    told = "--profiles profiles.parquet is of 2025-11-30, and --offers offers.parquet of 2025-12-31"
    policy = ROOT / "strategy" / "default.yaml"
    for command in (["plan", "--out", "plans.parquet"], ["clients", "repair"], ["policy", "compare", policy, policy]):
        ended = sheaf(*command, *november, *december, "--as-of", "2025-11-30")
        assert (ended.code, told in ended.err) == (1, True), ended.err
    assert (
        "--profiles profiles.parquet is of 2025-11-30, and --as-of of 2025-12-31"
        in sheaf("plan", *november, "--as-of", "2025-12-31", "--out", "plans.parquet").err
    )
    assert "profiles.parquet is of" not in sheaf("plan", *november, "--out", "plans.parquet").err  # its own day
    assert set(pd.read_parquet("plans.parquet")["as_of"].astype(str)) == {"2025-11-30"}

    assert (
        sheaf("plan", *bank, "--as-of", "2025-12-31", "--previous", "plans.parquet", "--out", "later.parquet").code == 0
    )
    back = sheaf("plan", *november, "--previous", "later.parquet", "--out", "plans.parquet")
    assert "--previous later.parquet is of 2025-12-31, after --profiles of 2025-11-30" in back.err
    audited = sheaf("audit", *bank, "--plans", "later.parquet", *november)
    assert "is of 2025-11-30, and --plans later.parquet of 2025-12-31" in audited.err


def test_without_an_attrition_model_that_is_told_before_anything_is_read(sheaf: Sheaf, small_bank: Path) -> None:
    pd.DataFrame({"client_id": ["x"]}).to_parquet("offers.parquet")  # no offers: told later
    those = ["--profiles", small_bank / "profiles.parquet", "--as-of", str(LAST_DAY), "--offers", "offers.parquet"]
    ended = sheaf("clients", "leaving", *those)
    assert (ended.code, "there is no attrition model" in ended.err, "sheaf attrition" in ended.err) == (1, True, True)


@pytest.mark.parametrize("verb", ["rank", "profile", "plan"])
def test_no_table_of_a_bank_is_written_over(sheaf: Sheaf, small_bank: Path, verb: str) -> None:
    bank = small_bank / "bank"
    table = bank / "clients.parquet"
    before = table.read_bytes()
    said = sheaf(verb, "--data", bank, "--as-of", str(LAST_DAY), "--out", table)
    assert (said.code, "would be written over a table of the bank" in said.err) == (1, True)
    assert table.read_bytes() == before


def test_profiles_that_have_a_client_twice_are_refused(sheaf: Sheaf, small_bank: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.parquet"
    profiles = pd.read_parquet(small_bank / "profiles.parquet")
    pd.concat([profiles, profiles.head(2)]).to_parquet(twice)
    said = sheaf("plan", "--profiles", twice, "--as-of", str(LAST_DAY), "--out", tmp_path / "plans.parquet")
    assert (said.code, "has 2 rows of clients that it has already" in said.err) == (1, True)
    assert not (tmp_path / "plans.parquet").exists()


def test_what_a_plan_needs_is_told(sheaf: Sheaf, small_bank: Path) -> None:
    those = ["--profiles", small_bank / "profiles.parquet", "--as-of", str(LAST_DAY)]
    assert "say whose plans to make" in sheaf("plan", "C0000001").err
    assert "give it with --as-of" in sheaf("plan", "C0000001", *those[:2]).err
    assert "say whom to show" in sheaf("plan", *those).err
    assert "--routes wants the offers" in sheaf("plan", *those, "--routes", "routes.parquet").err
    assert "leave CLIENT out" in sheaf("plan", "C0000001", *those, "--out", "plans.parquet").err
    assert "--out and --profiles are the same file" in sheaf("plan", *those, "--out", those[1]).err
    assert "--desks wants the offers" in sheaf("plan", *those, "--desks", "desks.parquet").err
    assert "--linked goes with" in sheaf("plan", "C0000001", "leasing", *those, "--linked", "staff=salary_package").err
    assert "--concession is one on a bundle" in sheaf("plan", "C0000001", *those, "--concession", "5").err
    assert "client C9 is not in the profiles" in sheaf("plan", "C9", *those).err
    assert "client C9 is not in the profiles" in sheaf("plan", "C9", "--data", small_bank / "bank").err
    assert list(Path().glob("*.parquet")) == []


def test_a_policy_is_checked_and_compared(sheaf: Sheaf, small_bank: Path) -> None:
    from sheaf.strategy import DEFAULT

    profiles = small_bank / "profiles.parquet"
    good = sheaf("policy", "check", DEFAULT)
    assert (good.code, "is as it should be" in good.out) == (0, True)
    text = DEFAULT.read_text(encoding="utf-8")
    Path("mine.yaml").write_text(text.replace("at_least: 1500, margin: 150", "at_least: 2500, margin: 150"))
    bad = sheaf("policy", "check", "mine.yaml")
    assert bad.code == 1
    refused = sheaf("plan", "C0000001", "--profiles", profiles, "--as-of", str(LAST_DAY), "--policy", "mine.yaml")
    assert (refused.code, "Error: mine.yaml:" in refused.err) == (1, True)
    assert re.search(
        r"mine.yaml:\d+: tiers.scales\[2\].steps\[1\]: nobody has a tier from 1,500 to 2,500, a gap", bad.out
    )
    Path("mine.yaml").write_text(text.replace("name: Default strategy", 'name: "Mine [/b] 2026"'))
    assert "Mine [/b] 2026, version" in sheaf("policy", "check", "mine.yaml").out
    hundred = text.splitlines()
    hundred[99] = "    - {name: weak rating, when: {rating: [Z]}, then: false}"
    assert "name: weak rating" in text.splitlines()[99]
    Path("mine.yaml").write_text("\n".join(hundred))
    assert "mine.yaml:100: service.green_channel[0]" in sheaf("policy", "check", "mine.yaml").out
    Path("mine.yaml").write_text(text.replace("1500", "2500"))
    compared = sheaf("policy", "compare", DEFAULT, "mine.yaml", "--profiles", profiles, "--as-of", str(LAST_DAY))
    assert (compared.code, "clients change tier" in compared.out) == (0, True)
    assert "Managers that the clients take" in compared.out


def test_a_manager_gets_a_book_for_the_day(sheaf: Sheaf, small_bank: Path) -> None:
    known = pd.read_parquet(small_bank / "bank" / "clients.parquet", columns=["client_id", "manager_id", "kind"])
    retail = known[known["kind"] == "retail"].drop_duplicates("client_id", keep="last")
    ids = retail["client_id"].iloc[:40]
    manager = retail["manager_id"].iloc[0]
    offers = pd.DataFrame({"client_id": ids, "rank": 1, "bundle_id": "life_insurance", "score": 5.0, "acceptance": 0.1,
                           "eva": [float(at + 1) for at in range(40)], "concession": 0.0})  # fmt: skip
    offers.to_parquet("offers.parquet")
    bank = ["--data", small_bank / "bank", "--as-of", str(LAST_DAY), "--offers", "offers.parquet"]
    made = sheaf("book", manager, *bank, "--out", "calls.csv")
    assert made.code == 0, made.err
    assert f"Book of {manager} after 2025-12-31" in made.out
    assert "Not called:" in made.out
    calls = pd.read_csv("calls.csv")
    assert calls["minutes"].sum() <= 6.5 * 60
    assert calls["score"].is_monotonic_decreasing
    assert (calls["score"] == (calls["probability"] * calls["value"] * calls["urgency"]).round(6)).all()
    those = ["--profiles", small_bank / "profiles.parquet", "--as-of", str(LAST_DAY), "--offers", "offers.parquet"]
    assert sheaf("plan", *those, "--out", "plans.parquet").code == 0
    again = sheaf("book", manager, *bank, "--plans", "plans.parquet", "--out", "calls.parquet")
    assert again.code == 0, again.err
    assert pd.read_parquet("calls.parquet")["client_id"].to_list() == calls["client_id"].to_list()

    assert f"manager M9 has no client on {LAST_DAY}; use one of M0" in sheaf("book", "M9", *bank).err
    assert "plans.parquet lacks rank, bundle_id" in sheaf("book", manager, *bank[:-1], "plans.parquet").err
    before = Path("offers.parquet").read_bytes()
    assert "--out and --offers are the same file" in sheaf("book", manager, *bank, "--out", "offers.parquet").err
    assert Path("offers.parquet").read_bytes() == before
    earlier = ["--data", small_bank / "bank", "--as-of", "2025-11-30", "--offers", "offers.parquet"]
    write_parquet(Path("dated.parquet"), [pq.read_table("offers.parquet")], LAST_DAY)
    late = sheaf("book", manager, *earlier[:-1], "dated.parquet")
    assert (late.code, f"offers as of {LAST_DAY}, which is after 2025-11-30" in late.err) == (1, True)
    late = sheaf("book", manager, *earlier, "--plans", "plans.parquet")
    assert (late.code, f"plans of {LAST_DAY}, which is after 2025-11-30" in late.err) == (1, True)
    assert "offers.parquet lacks channels" in sheaf("book", manager, *bank, "--plans", "offers.parquet").err
    assert sheaf("book", manager, *bank, "--out", "calls.txt").code == 2


def test_managers_and_branches_are_judged(sheaf: Sheaf, small_bank: Path) -> None:
    bank = ["--data", small_bank / "bank"]
    every = sheaf("scorecard", *bank, "--months", "2", "--out", "all.csv", "--picture", "all.png")
    assert every.code == 0, every.err
    assert "2025-11 ┃ 2025-12" in every.out
    assert "Not measured: offers made, offers accepted, of answered: there is no table offers" in every.out
    rows = pd.read_csv("all.csv")
    assert set(rows["unit"]) == {"bank", "branch", "manager"}
    branch = rows[rows["unit"] == "branch"]["id"].iloc[0]
    Path("plan.csv").write_text(f"id,measure,plan,month\n{branch},fees,1,2025-12\n")
    one = sheaf("scorecard", *bank, "--month", "2025-12", "--months", "2", "--branch", branch, "--plan", "plan.csv",
                "--picture", "one.svg", "--out", "one.parquet")  # fmt: skip
    assert one.code == 0, one.err
    assert f"Branch {branch}, 2025-12" in one.out
    assert "Score by month: 2025-11" in one.out
    written = pd.read_parquet("one.parquet")
    assert set(written["id"]) == {branch}
    assert written[(written["measure"] == "fees") & (written["plan"] == 1.0)]["points_plan"].to_list() == [200.0]
    assert (Path("all.png").read_bytes()[:4], b"<svg" in Path("one.svg").read_bytes()) == (b"\x89PNG", True)

    assert "the bank is known until 2025-12" in sheaf("scorecard", *bank, "--month", "2026-01").err
    assert "leave out --manager or --branch" in sheaf("scorecard", *bank, "--manager", "M", "--branch", "B").err
    assert "there is no manager M99 in these months" in sheaf("scorecard", *bank, "--manager", "M99").err
    assert "plan.csv: there is no such file" in sheaf("scorecard", *bank, "--plan", "no/plan.csv").err
