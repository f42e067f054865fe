from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sheaf.training import ArtifactError, Model, TrainingSample
from sheaf.training.ranker.bundle_order import Order, fit_order
from sheaf.training.ranker.model import FORMAT, MANIFEST
from tests.made import CATALOG, QUICK, bundles_wanted


@pytest.fixture(scope="module")
def model(model: Model) -> Model:
    """With a second stage, whatever the made bank gave it to learn."""
    order, _ = fit_order(bundles_wanted(), QUICK)
    assert order.booster is not None
    return replace(model, order=order)


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def ranked(model: Model, sample: TrainingSample) -> list[list[float]]:
    candidates, values = model.candidates(), model.align(sample.days[-1].profiles).values
    ranking = model.rank(candidates, values, candidates.peer_groups(values))
    return [value.tolist() for value in vars(ranking).values()]


def test_a_loaded_model_ranks_as_the_saved_one_did(model: Model, sample: TrainingSample, saved: Path) -> None:
    loaded = Model.load(saved)
    assert ranked(loaded, sample) == ranked(model, sample)
    assert loaded.version == model.version
    assert (loaded.about, loaded.features, loaded.encoding) == (model.about, model.features, model.encoding)
    assert loaded.catalog.version == CATALOG.version


def test_what_was_loaded_is_saved_as_it_was(saved: Path, tmp_path: Path) -> None:
    Model.load(saved).save(tmp_path / "again")
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == files


def test_the_artifact_is_text_and_json(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    assert {path.suffix for path in saved.iterdir()} == {".txt", ".json"}
    for name in names:
        text = (saved / name).read_text(encoding="utf-8")
        if name.endswith(".json"):
            json.loads(text)
        else:
            assert text.startswith("tree\n")


def test_every_file_is_under_the_manifest(saved: Path) -> None:
    told = json.loads((saved / MANIFEST).read_text())["sha256"]
    others = {path.name for path in saved.iterdir()} - {MANIFEST}
    assert set(told) == others
    assert all(hashlib.sha256((saved / name).read_bytes()).hexdigest() == told[name] for name in others)


@pytest.mark.parametrize("name", ["adoption.txt", "ranking.txt", "model.json", "catalog.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_changed_bit_is_refused(saved: Path, name: str, place: float) -> None:
    content = bytearray((saved / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(
        ArtifactError, match=f"{name} was damaged or altered since it was saved; restore it or train anew"
    ):
        Model.load(saved)


@pytest.mark.parametrize("name", ["adoption.txt", "ranking.txt", "model.json", "catalog.json"])
def test_a_missing_file_is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=rf"\['{name}'\] missing or not of this model"):
        Model.load(saved)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    content = (saved / "adoption.txt").read_bytes()
    (saved / "adoption.txt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=r"adoption.txt was damaged"):
        Model.load(saved)


@pytest.mark.parametrize("name", ["extra.pkl", "more"])
def test_an_added_file_is_refused(saved: Path, name: str) -> None:
    (saved / name).mkdir() if name == "more" else (saved / name).write_bytes(b"cos\nsystem\n")
    with pytest.raises(ArtifactError, match=rf"\['{name}'\] missing or not of this model"):
        Model.load(saved)


def test_a_manifest_that_names_an_added_file_is_refused(saved: Path) -> None:
    """Only the registry's fingerprint tells a folder that was altered as a whole, manifest included."""
    fingerprint = hashlib.sha256((saved / MANIFEST).read_bytes()).hexdigest()
    content = json.loads((saved / "model.json").read_text())
    content["calibration"]["slope"] = 9.0
    (saved / "model.json").write_text(json.dumps(content))
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["sha256"]["model.json"] = hashlib.sha256((saved / "model.json").read_bytes()).hexdigest()
    (saved / MANIFEST).write_text(json.dumps(manifest))
    assert Model.load(saved).adoption.calibration.slope == 9.0
    with pytest.raises(ArtifactError, match="is not the model that was registered: its manifest was altered"):
        Model.load(saved, fingerprint)


def test_save_tells_the_fingerprint_that_load_takes(model: Model, tmp_path: Path) -> None:
    fingerprint = model.save(tmp_path / "model")
    assert Model.load(tmp_path / "model", fingerprint).version == model.version


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": []}', '{"sha256": 1}', "not json", "\x00"])
def test_a_manifest_that_is_none_is_refused(saved: Path, content: str) -> None:
    (saved / MANIFEST).write_text(content)
    with pytest.raises(ArtifactError, match="train anew"):
        Model.load(saved)


@pytest.mark.parametrize("name", ["../outside.txt", "sub/inside.txt"])
def test_a_manifest_may_name_only_files_of_the_folder(saved: Path, name: str) -> None:
    (saved.parent / "outside.txt").write_text("x")
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["sha256"][name] = hashlib.sha256(b"x").hexdigest()
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="missing or not of this model"):
        Model.load(saved)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        with pytest.raises(ArtifactError, match=rf"{name}.{MANIFEST} cannot be read .*; this is no complete model"):
            Model.load(tmp_path / name)


def test_another_format_is_refused(saved: Path) -> None:
    content = json.loads((saved / "model.json").read_text()) | {"format": 999}
    (saved / "model.json").write_text(json.dumps(content))
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["sha256"]["model.json"] = hashlib.sha256((saved / "model.json").read_bytes()).hexdigest()
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=f"format 999, this version reads {FORMAT}; train anew"):
        Model.load(saved)


def test_a_folder_in_use_is_not_written_over(model: Model, saved: Path) -> None:
    with pytest.raises(ArtifactError, match="is not empty; give a new folder"):
        model.save(saved)


def test_profiles_in_other_columns_and_texts_are_read_the_same(model: Model, sample: TrainingSample) -> None:
    """Another day of the bank may know other texts, and its columns may stand elsewhere."""
    profiles = sample.days[-1].profiles
    columns = [*reversed(profiles.columns), "new_column"]
    texts = {name: ["aaa", *reversed(known)] for name, known in profiles.categories.items()}
    otherwise = model.align(profiles.align(columns, texts))
    np.testing.assert_array_equal(otherwise.values, model.align(profiles).values)


def test_a_model_without_a_second_stage_is_kept_too(model: Model, sample: TrainingSample, tmp_path: Path) -> None:
    plain = replace(model, order=Order(None, share=0.5))
    plain.save(tmp_path / "plain")
    assert not (tmp_path / "plain" / "ranking.txt").exists()
    loaded = Model.load(tmp_path / "plain")
    assert loaded.order == Order(None, share=0.5)
    assert ranked(loaded, sample) == ranked(plain, sample)
    assert plain.version != model.version


def test_a_moved_folder_is_as_good(model: Model, saved: Path, tmp_path: Path) -> None:
    shutil.move(saved, tmp_path / "elsewhere")
    assert Model.load(tmp_path / "elsewhere").version == model.version
