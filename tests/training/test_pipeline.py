from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pytest

from sheaf.features import Bank
from sheaf.training import ArtifactError, Model, TrainingSample, evaluate, fit, read_sample, registry
from sheaf.training.pipeline import Trained, fingerprint, train
from sheaf.training.samples import held_out
from tests.made import CATALOG, DAYS, LAST_DAY, QUICK, bank, frames, write

BAD = QUICK.model_copy(update={"rounds": 1, "ranking_rounds": 0, "adoption": {"learning_rate": 1e-9, "num_leaves": 2}})
LAST = DAYS[-1:]


def trained(days: list[dt.date], tables: Bank | None = None, parameters=QUICK) -> Trained:
    return train(tables or bank(), CATALOG, days, horizon_days=30, parameters=parameters)


def model_folder(version: str) -> Path:
    source = registry.client().get_model_version(registry.NAME, version).source
    return Path(unquote(urlparse(source).path))


def artifact(version: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in model_folder(version).iterdir()}


def registered(model: Model) -> registry.Registered:
    """The model as the champion of a new registry."""
    made = registry.record(model, {}, {}, {}, {})
    registry.crown(made, registry.CHAMPION)
    return made


def scores(model: Model, sample: TrainingSample) -> np.ndarray:
    """(4, pairs): client, item, score, probability on the sample's last day, by client and item."""
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    order = np.lexsort((ranking.item, ranking.client))
    return np.stack([ranking.client, ranking.item, ranking.score, ranking.probability])[:, order]


def test_the_same_seed_trains_the_same_model_and_all_of_it_is_in_mlflow(workplace: Path) -> None:
    one, two = trained(DAYS), trained(DAYS)
    assert {"adoption.txt", "model.json", "catalog.json", "manifest.json"} <= set(artifact(one.version))
    assert artifact(one.version) == artifact(two.version)
    assert one.model.version == two.model.version

    assert (one.alias, two.alias) == ("champion", "challenger")  # a tie keeps the champion
    assert two.release_deciding == two.champion_deciding
    assert two.better_by == (0.0, 0.0)
    champion = registry.need_champion()
    assert (champion.version, champion.model.version) == (one.version, one.model.version)

    client = registry.client()
    assert registry.tracking_uri() == f"sqlite:///{(workplace / 'mlruns' / 'mlflow.db').as_posix()}"
    version = client.get_model_version(registry.NAME, one.version)
    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    told = run.data.params
    assert told["as_of"] == "['2025-10-30', '2025-11-30']"
    assert told["catalog_version"] == CATALOG.version
    assert told["data_fingerprint"] == one.model.about["data_fingerprint"]
    assert (told["horizon_days"], told["rounds"], told["adoption.num_leaves"]) == ("30", "20", "7")
    figures = run.data.metrics
    for stem in ("ndcg_at_5", "map_at_7", "recall_at_5", "coverage_at_5", "calibration_error"):
        assert 0 <= figures[f"backtest.{stem}"] <= 1
    for segment in ("", ".retail", ".intermediary", ".kind_retail"):
        for stem in ("product_map_at_7", "product_ndcg_at_5", "product_recall_at_5", "product_calibration_error"):
            assert figures[f"backtest.{stem}{segment}"] == one.backtest.figures[f"{stem}{segment}"]
    for segment in (".retail", ".kind_retail", ".size_1", ".size_2"):
        assert 0 <= figures[f"backtest.calibration_error{segment}"] <= 1
    assert figures["release.ndcg_at_5"] == one.release_deciding
    assert all(np.isfinite(value) for value in figures.values())
    assert run.data.tags["in_order_of_time"] == "True"
    assert int(run.data.tags["validation_clients"]) == one.backtest.clients > 50
    plots = {file.path for file in client.list_artifacts(version.run_id, "plots")}
    assert plots == {"plots/calibration.png", "plots/gain.png", "plots/segments.png"}
    folder = model_folder(one.version)
    assert folder.is_relative_to(workplace / "mlruns")
    assert Model.load(folder, version.tags["fingerprint"]).version == one.model.version
    assert not [path for path in workplace.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


@pytest.mark.usefixtures("workplace")
def test_the_better_model_is_champion_whoever_comes_first() -> None:
    bad, good, bad_again = trained(LAST, parameters=BAD), trained(LAST), trained(LAST, parameters=BAD)
    assert [of.alias for of in (bad, good, bad_again)] == ["champion", "champion", "challenger"]
    assert good.better_by is not None
    assert good.better_by[0] > 0
    assert bad_again.better_by is not None
    assert bad_again.better_by[1] < 0
    assert registry.need_champion().version == good.version
    aliases = registry.client().get_registered_model(registry.NAME).aliases
    assert {name: str(version) for name, version in aliases.items()} == {
        "champion": good.version, "challenger": bad_again.version
    }  # fmt: skip
    # A single day leaves no earlier one to learn from: other clients of that day then tell how good the model is.
    assert not good.in_order_of_time
    assert good.backtest.figures["ndcg_at_5"] == good.release_deciding


@pytest.mark.usefixtures("workplace")
def test_who_was_crowned_while_it_trained_is_the_one_to_beat(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    record = registry.record

    def while_another_ends(*told, **named):
        monkeypatch.setattr(registry, "record", record)
        registered(model)
        return record(*told, **named)

    monkeypatch.setattr(registry, "record", while_another_ends)
    found = trained(LAST, parameters=BAD)
    assert found.alias == "challenger"
    assert registry.need_champion().model.version == model.version


@pytest.mark.usefixtures("workplace")
def test_a_champion_that_knows_fewer_columns_is_compared_client_by_client() -> None:
    """Without a region it may offer everybody insurance, so it counts clients who are no candidates of the other."""
    tables = frames(1500)
    people = tables["clients"][["client_id", "kind", "joined_on"]]
    assert trained(LAST, Bank.of(**{**tables, "clients": people})).alias == "champion"
    found = trained(LAST, Bank.of(**tables))
    assert found.better_by is not None
    assert found.better_by[0] > 0
    assert found.alias == "champion"


@pytest.mark.usefixtures("workplace")
def test_a_champion_is_not_compared_on_clients_whom_it_was_trained_on() -> None:
    tables, narrower = bank(), QUICK.model_copy(update={"holdout_share": 0.1})
    trained(LAST, tables, narrower)
    sold = read_sample(tables, CATALOG, LAST, 30).days[-1]
    unseen = held_out(sold.profiles.client_ids, 0.1)
    with pytest.warns(UserWarning, match=rf"holdout_share 0.1, so it saw .* on the other {unseen.sum()} only"):
        found = trained(LAST, tables)
    champion = next(one.model for one in registry.models() if one.version == "1")
    assert found.champion_deciding == evaluate(champion, sold.where(unseen), CATALOG).figures["ndcg_at_5"]


def test_another_seed_trains_another_model(sample: TrainingSample) -> None:
    own = {**QUICK.adoption, "feature_fraction": 0.5}
    one, again, other = (
        fit(sample, CATALOG, QUICK.model_copy(update={"seed": seed, "adoption": own}), {})[0] for seed in (1, 1, 2)
    )
    assert one.version == again.version != other.version


def damage(folder: Path, model: Model) -> None:
    path = folder / "adoption.txt"
    path.write_bytes(path.read_bytes().replace(b"leaf_value=", b"leaf_value=9", 1))


def remove(folder: Path, model: Model) -> None:
    shutil.rmtree(folder)


def replace_with_another(folder: Path, model: Model) -> None:
    shutil.rmtree(folder)
    replace(model, about={**model.about, "horizon_days": 1}).save(folder)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage, "adoption.txt was damaged or altered since it was saved"),
        (remove, "lost its files|cannot be read"),
        (replace_with_another, "is not the model that was registered: its manifest was altered"),
    ],
)
def test_a_champion_that_is_not_what_was_registered_is_refused(
    model: Model, harm: Callable[[Path, Model], None], message: str
) -> None:
    harm(model_folder(registered(model).version), model)
    with pytest.raises(ArtifactError, match=message):
        registry.need_champion()


@pytest.mark.usefixtures("workplace")
def test_a_refused_champion_gives_way(model: Model) -> None:
    damage(model_folder(registered(model).version), model)
    with pytest.warns(UserWarning, match=r"the present champion is refused and gives way: .*adoption.txt was damaged"):
        run = trained(LAST, parameters=BAD)
    assert run.alias == "champion"
    assert registry.need_champion().version == run.version


@pytest.mark.usefixtures("workplace")
def test_without_a_champion_the_way_to_one_is_told() -> None:
    assert registry.champion() is None
    with pytest.raises(registry.RegistryError, match=r"there is no champion in sqlite:.*; run `sheaf train` first"):
        registry.need_champion()


@pytest.mark.usefixtures("workplace")
def test_nothing_is_registered_where_there_was_nothing_to_learn() -> None:
    tables = frames(100)
    tables["holdings"] = tables["holdings"].query("opened_on < '2025-11-01'")
    with pytest.raises(ValueError, match="the last opening in table holdings is of"):
        trained(DAYS, Bank.of(**tables))
    assert registry.client().search_registered_models() == []


@pytest.mark.usefixtures("workplace")
def test_validation_clients_never_teach_the_models(sample: TrainingSample) -> None:
    """Whatever they opened: the models trained beside them are the same to the last byte."""
    told = frames()
    ids, holdings = told["clients"]["client_id"].to_numpy(), told["holdings"]
    theirs = set(ids[held_out(ids, QUICK.holdout_share)])
    later = (holdings["opened_on"] > pd.Timestamp(LAST[0])) & (holdings["opened_on"] < pd.Timestamp(LAST_DAY))
    otherwise = {**told, "holdings": holdings[~(later & holdings["client_id"].isin(theirs))]}
    assert len(holdings) - len(otherwise["holdings"]) > 5
    one = trained(LAST, Bank.of(**told))
    with pytest.warns(UserWarning, match="validation clients opened anything after 2025-11-30: the model cannot be"):
        other = trained(LAST, Bank.of(**otherwise))
    assert one.model.about["data_fingerprint"] != other.model.about["data_fingerprint"]
    mine, others = (
        {name: content for name, content in artifact(of.version).items() if name.endswith(".txt")}
        for of in (one, other)
    )
    assert "adoption.txt" in mine
    assert mine == others
    assert one.model.about["trained_clients"] == len(ids) - len(theirs)


def test_what_anybody_else_opened_teaches_them(sample: TrainingSample) -> None:
    half = replace(sample, days=tuple(replace(day, opened=day.opened * (np.arange(len(day.opened)) % 2)[:, None])
                                      for day in sample.days))  # fmt: skip
    one, other = (fit(of, CATALOG, QUICK, {})[0] for of in (sample, half))
    assert one.version != other.version


def test_frames_and_files_train_models_with_the_same_scores(tmp_path: Path, sample: TrainingSample) -> None:
    of_files = read_sample(Bank.open(write(tmp_path / "bank", frames())), CATALOG, DAYS)
    assert [day.as_of for day in of_files.days] == [day.as_of for day in sample.days]
    models = [fit(of, CATALOG, QUICK, {})[0] for of in (sample, of_files)]
    told = [scores(models[0], sample), scores(models[1], of_files)]
    assert told[0].shape == told[1].shape
    assert np.abs(told[0] - told[1]).max() < 1e-6


def test_the_fingerprint_stands_for_all_that_was_seen(sample: TrainingSample) -> None:
    told = fingerprint(sample)
    assert told == fingerprint(sample)
    day = sample.days[0]
    opened = day.opened.copy()
    opened[3, 2] ^= 1
    values = day.profiles.values.copy()
    values[3, day.profiles.columns.index("tenure_months")] += 1
    for changed in (
        replace(day, opened=opened),
        replace(day, as_of=DAYS[1]),
        replace(day, profiles=replace(day.profiles, values=values)),
        replace(day, profiles=replace(day.profiles, client_ids=np.char.add(day.profiles.client_ids, "x"))),
    ):
        assert fingerprint(replace(sample, days=(changed, *sample.days[1:]))) != told


def test_the_fingerprint_is_the_same_in_another_run(sample: TrainingSample) -> None:
    """DuckDB's threads add up in whatever order: the last bit of a sum is another one now and then."""
    day = sample.days[0]
    values = day.profiles.values.copy()
    of = np.isfinite(values) & (values != 0) & (np.abs(values) < 1e30)
    values[of] = np.nextafter(values[of], np.float32(np.inf))
    assert (values != day.profiles.values)[of].all()
    nudged = replace(day, profiles=replace(day.profiles, values=values))
    assert fingerprint(replace(sample, days=(nudged, *sample.days[1:]))) == fingerprint(sample)
