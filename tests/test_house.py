"""What holds for the repository as a whole: import direction, pinned dependencies, no file that knows one machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EVERYTHING = ("serve", "train", "postgres", "discover", "audit", "tune", "docs", "dev")
LOCKS = {
    "requirements.lock": EVERYTHING,
    "requirements-serve.lock": ("serve", "postgres"),
    "requirements-peers.lock": (*EVERYTHING, "peers"),
}  # and the extras each pins

MACHINE_PATH = re.compile(r"(?<![\w.:*/-])(?:/(?:home|root|tmp|Users|work)/|[A-Z]:\\Users\\)\w")
TRUTH_PATH = re.compile(r"""["'/]truth\b""")


def repository_files() -> list[Path]:
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("only git knows which files are the repository's, and this is no git checkout")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """Path from the root and content of every text file of the repository."""
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((path.relative_to(ROOT).as_posix(), content.decode("utf-8")))
    return found


def test_rooms_import_only_what_stands_before_them():
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_room_is_packaged_and_under_the_import_contract():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks", "sheaf", "tests"}
    ordered = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert rooms == {*ordered, "simulation"}
    assert {path.name for path in (ROOT / "sheaf").iterdir() if path.is_symlink()} == rooms


def pinned(lock: str) -> list[str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return [entry for entry in re.split(r"\n(?=\S)", text) if "==" in entry.splitlines()[0]]


def test_every_extra_is_in_a_lock():
    assert {extra for extras in LOCKS.values() for extra in extras} == set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pinned_dependency_has_hashes(lock: str):
    assert pinned(lock)
    without = [entry.splitlines()[0] for entry in pinned(lock) if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    assert without == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_registry_and_no_folder(lock: str):
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if re.search(r"://|^-|\s@\s|^\.?/", line)]
    assert entries == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_meets_every_floor(lock: str):
    versions: dict[str, list[str]] = {}
    for entry in pinned(lock):
        name, version = entry.split("==", 1)
        versions.setdefault(canonicalize_name(name), []).append(version.split()[0])
    project = PROJECT["project"]
    asked = [*project["dependencies"], *(r for extra in LOCKS[lock] for r in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, asked):
        pins = versions.get(canonicalize_name(requirement.name), [])
        assert pins, f"{requirement.name} is not in {lock}: make lock"
        assert all(requirement.specifier.contains(pin) for pin in pins), f"{requirement} against {pins}: make lock"


def test_no_file_holds_a_path_of_somebodys_machine():
    found = [f"{name}: {match[0]}" for name, text in texts() for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_only_benchmarks_read_the_truth():
    may = ("benchmarks/", "simulation/", "tests/simulation/", "tests/benchmarks/", "tests/test_house.py")
    found = [name for name, text in texts() if name.endswith((".py", ".ipynb")) and TRUTH_PATH.search(text)]
    assert [name for name in found if not name.startswith(may)] == []
