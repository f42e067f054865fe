"""A sealed file holds its own checksum: any flipped bit, and anything cut off or added, is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheaf.features.checksums import SEAL, is_sealed, seal
from sheaf.features.client_positions import SEALED


@pytest.fixture(scope="module")
def arrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sealed") / "rows.arrow"
    schema = pa.schema([("client_id", pa.string())]).with_metadata({SEALED: SEAL})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(pa.table({"client_id": [f"C{one}" for one in range(50)]}).cast(schema))
    assert not is_sealed(path)
    seal(path)
    assert is_sealed(path)
    return path


def test_arrow_reads_a_sealed_file_as_any_other(arrow: Path) -> None:
    assert pa.ipc.open_file(str(arrow)).read_all()["client_id"][49].as_py() == "C49"


@given(st.data())
def test_any_flipped_bit_is_found(arrow: Path, data: st.DataObject) -> None:
    content = bytearray(arrow.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged = arrow.with_name("damaged.arrow")
    damaged.write_bytes(content)
    assert not is_sealed(damaged)


@pytest.mark.parametrize(
    "change", [lambda of: of[:-1], lambda of: of + b"x", lambda of: b"", lambda of: of[: len(of) // 2]]
)
def test_what_is_cut_off_or_added_is_found(arrow: Path, change: Callable[[bytes], bytes]) -> None:
    damaged = arrow.with_name("changed.arrow")
    damaged.write_bytes(change(arrow.read_bytes()))
    assert not is_sealed(damaged)
