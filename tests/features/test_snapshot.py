from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sheaf.features import Bank, ProfileMatrix, profile_matrices
from sheaf.features.snapshot import Snapshot, SnapshotError
from tests.features.banks import CATALOG, DAY, bank, client

CLIENTS = [
    client("b", kind="retail", segment="top"),
    client("a10", kind="corporate", segment="mass"),
    client("a9", kind="institution", segment=None),
    client("é", kind="retail", segment="mass"),
]


def a_bank() -> Bank:
    held = [{"client_id": "b", "product_id": "card", "opened_on": "2024-01-31"}]
    tables = {"clients": pd.DataFrame(CLIENTS), "holdings": pd.DataFrame(held)}
    return Bank.of(**tables)


def write(folder: Path, of: Bank | None = None) -> int:
    of = of or a_bank()
    return Snapshot.write(folder, profile_matrices(of, CATALOG, DAY), DAY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert write(tmp_path / "profiles") == 4
    return tmp_path / "profiles"


def test_what_is_read_is_what_was_written(folder: Path) -> None:
    read = Snapshot.read(folder)
    told = next(profile_matrices(a_bank(), CATALOG, DAY))
    assert read.as_of == DAY
    assert read.profiles.client_ids.tolist() == ["a10", "a9", "b", "é"] == told.client_ids.tolist()
    again = read.profiles.align(told.columns, told.categories)
    np.testing.assert_array_equal(again.values, told.values)


def test_values_stay_on_disk_until_they_are_read(folder: Path) -> None:
    assert isinstance(Snapshot.read(folder).profiles.values, np.memmap)
    assert not Snapshot.read(folder).profiles.values.flags.writeable


def test_a_client_is_found_by_the_whole_id(folder: Path) -> None:
    read = Snapshot.read(folder)
    for name in ("a10", "a9", "b", "é"):
        row = read.row(name)
        assert row is not None
        assert read.profiles.client_ids[row] == name
    for name in ("", "a", "a1", "a100", "B", "z", "b ", "\0", "b\0", "漢" * 300):
        assert read.row(name) is None


def test_files_hold_no_pickle(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"profiles.json", "clients.npy", "values.f32"}
    np.load(folder / "clients.npy", allow_pickle=False)


def test_a_bank_of_nobody_is_a_snapshot_too(tmp_path: Path) -> None:
    assert write(tmp_path / "profiles", bank(clients=[], holdings=[])) == 0
    read = Snapshot.read(tmp_path / "profiles")
    assert read.row("a") is None
    assert read.profiles.values.shape[0] == 0


@pytest.mark.parametrize("name", ["values.f32", "clients.npy", "profiles.json"])
def test_a_truncated_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-7])
    with pytest.raises(SnapshotError, match=r"is not whole; run|altered since|holds no profiles .*; run"):
        Snapshot.read(folder)


@pytest.mark.parametrize("name", ["values.f32", "clients.npy", "profiles.json"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(SnapshotError, match=r"profiles holds no profiles .*; run `sheaf profile` first"):
        Snapshot.read(folder)


def test_another_format_is_refused(folder: Path) -> None:
    about = json.loads((folder / "profiles.json").read_text()) | {"format": 99}
    (folder / "profiles.json").write_text(json.dumps(about))
    with pytest.raises(SnapshotError, match="format 99, this version reads 2; profile anew"):
        Snapshot.read(folder)


def test_writing_that_fails_leaves_what_was_there(folder: Path) -> None:
    def stop(clients: int) -> None:
        raise RuntimeError("no more")

    one = a_bank()
    with pytest.raises(RuntimeError, match="no more"):
        Snapshot.write(folder, profile_matrices(one, CATALOG, DAY), DAY, stop)
    assert len(Snapshot.read(folder).profiles.client_ids) == 4
    assert [path.name for path in folder.parent.iterdir()] == ["profiles"]


def test_writing_anew_replaces_all_of_it(folder: Path) -> None:
    (folder / "stray").write_text("x")
    write(folder, bank(clients=[client("z")], holdings=[]))
    assert Snapshot.read(folder).profiles.client_ids.tolist() == ["z"]
    assert not (folder / "stray").exists()


def swap_columns(folder: Path) -> None:
    about = json.loads((folder / "profiles.json").read_text())
    about["columns"][3], about["columns"][4] = about["columns"][4], about["columns"][3]
    (folder / "profiles.json").write_text(json.dumps(about))


def double_an_id(folder: Path) -> None:
    ids = np.load(folder / "clients.npy")
    ids[1] = ids[0]
    np.save(folder / "clients.npy", ids)


def category_out_of_range(folder: Path) -> None:
    about = json.loads((folder / "profiles.json").read_text())
    values = np.fromfile(folder / "values.f32", np.float32).reshape(-1, len(about["columns"]))
    values[0, about["columns"].index("kind")] = 99
    values.tofile(folder / "values.f32")


@pytest.mark.parametrize("damage", [swap_columns, double_an_id, category_out_of_range])
def test_an_altered_snapshot_is_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    with pytest.raises(SnapshotError, match="was damaged or altered since it was written; run `sheaf profile` anew"):
        Snapshot.read(folder)


@pytest.mark.parametrize("name", ["values.f32", "clients.npy", "profiles.json"])
def test_any_flipped_bit_is_found(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(SnapshotError):
            Snapshot.read(folder)
    (folder / name).write_bytes(content)
    Snapshot.read(folder)


def matrix(ids: list[str], kind: list[float], columns: tuple[str, str] = ("kind", "age")) -> ProfileMatrix:
    values = np.column_stack([kind, np.full(len(kind), 40.0)]).astype(np.float32)
    return ProfileMatrix(np.array(ids), list(columns), {"kind": ["corporate", "retail"]}, values)


@pytest.mark.parametrize(
    ("profiles", "words"),
    [
        (matrix(["a", "a"], [0, 1]), "client 'a' comes twice or out of order"),
        (matrix(["b", "a"], [0, 1]), "client 'a' comes twice or out of order"),
        (matrix(["a", "b"], [0, 2]), "column kind has codes beyond its 2 categories"),
        (matrix(["a", "b"], [0, 0.5]), "column kind has codes beyond its 2 categories"),
        (matrix(["a", "b"], [0, np.inf]), "column kind has codes beyond its 2 categories"),
        (matrix(["a", "b"], [0, 1], ("kind", "kind")), "a column more than once: kind"),
        (matrix(["a", "b", "c"], [0, 1]), "the shape"),
    ],
)
def test_profiles_that_cannot_be_are_not_written(tmp_path: Path, profiles: ProfileMatrix, words: str) -> None:
    with pytest.raises(SnapshotError, match=words):
        Snapshot.write(tmp_path / "profiles", [profiles], DAY)
    assert not list(tmp_path.iterdir())


def test_a_snapshot_of_an_earlier_version_is_refused_with_the_remedy(folder: Path) -> None:
    about = json.loads((folder / "profiles.json").read_text())
    kept = {name: about[name] for name in ("as_of", "columns", "categories")}
    (folder / "profiles.json").write_text(json.dumps({"format": 1, **kept}))
    with pytest.raises(SnapshotError, match="format 1, this version reads 2; profile anew"):
        Snapshot.read(folder)
