"""The comparison with peers: what its methods compute by hand, and that a kept result is one of this very code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer import BadParameter

from benchmarks.ranking import __main__ as ranking
from benchmarks.ranking import bundle_table, results, tables
from benchmarks.ranking.bundle_table import Hits
from benchmarks.ranking.bundles import CHANCE, ORDER, SIZES, WHOLE, best
from benchmarks.ranking.peers import EXTRA, PEERS, Peer
from benchmarks.ranking.tables import Quality
from benchmarks.ranking.tasks import Answers, Task
from benchmarks.ranking.together import autoencoder, cosines
from sheaf.training.metrics import calibration_error
from tests import made

QUICK = ("popularity", "by-segment", "cosine", "ease", "logistic", "multiclass")


@pytest.fixture(scope="module")
def task(sample):
    return Task(made.CATALOG, sample, sample.days[-1].profiles, last=1, segment=("kind", "age"), strength=0.1)


def test_cosine_is_of_columns_and_none_with_itself():
    # lengths √2, √3, 0
    known = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    assert cosines(known) == pytest.approx(np.array([[0, 2 / 6**0.5, 0], [2 / 6**0.5, 0, 0], [0, 0, 0]]))


def test_ease_has_the_closed_form():
    # XᵀX + I = [[3, 1], [1, 2]], its inverse [[2, -1], [-1, 3]] / 5
    known = np.array([[1, 1], [1, 0]], dtype=float)
    assert autoencoder(known, 1.0) == pytest.approx(np.array([[0, 1 / 3], [1 / 2, 0]]))


@pytest.mark.parametrize("name", QUICK)
def test_a_peer_orders_better_than_the_opposite_of_its_order(name, task):
    told, _ = PEERS[name].learn(task)(task.ranked)
    answers = [Answers(task.ranked.slate.reached, task.sample.days[-1].opened > 0)]
    right, wrong = (Quality.of(answers, [sign * told], []).ndcg.mean() for sign in (1, -1))
    assert right > wrong


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.library])
def test_a_peer_of_the_extra_gives_every_candidate_a_score(name, task):
    if PEERS[name].lacking:
        pytest.skip(PEERS[name].lacking)
    told, _ = PEERS[name].learn(task)(task.ranked)
    assert np.isfinite(told[task.ranked.slate.reached]).all()


def test_a_peer_without_its_library_says_what_to_install():
    assert Peer(PEERS["als"].learn, (), "no_such_library").lacking == (f"no_such_library is not installed: {EXTRA}")


def test_a_task_holds_nothing_of_what_the_ranked_clients_opened(task):
    assert not [name for name in vars(task) if name in ("opened", "answers")]


def test_the_fingerprint_follows_what_peers_read(task):
    other = replace(task.profiles, values=task.profiles.values + 1)
    assert task.fingerprint == replace(task, last=1).fingerprint
    assert len({of.fingerprint for of in (task, replace(task, last=2), replace(task, profiles=other))}) == 3


def test_a_result_is_kept_until_its_code_or_its_task_changes(task, tmp_path, monkeypatch):
    ran = []

    def child(module, path, name, out):
        ran.append(name)
        np.savez(out, score=np.zeros((1, 2)))
        return {"training": 1.0, "training_cpu": 1.0, "ranking": 1.0, "rows": 2, "memory": 0.1}

    monkeypatch.setattr(results, "child", child)

    def result(of):
        return results.of_peer("cosine", "small", tmp_path / "small.task", of, tmp_path)

    assert result(task).probability is None
    assert result(task).score.tolist() == [[0.0, 0.0]]
    assert ran == ["cosine"]
    result(replace(task, last=2))
    assert ran == ["cosine"] * 2
    monkeypatch.setitem(PEERS, "cosine", replace(PEERS["cosine"], sources=("benchmarks/measure.py",)))
    result(task)
    assert ran == ["cosine"] * 3


def test_calibration_error_is_that_of_the_metrics():
    rng = np.random.default_rng(0)
    probability = rng.random((60, 5))
    opened = rng.random((60, 5)) < probability**2
    quality = Quality.of([Answers(np.ones((60, 5), dtype=bool), opened)], [probability], [probability])
    assert quality.calibration_error == pytest.approx(calibration_error(probability.ravel(), opened.ravel()))


def test_folds_count_together_and_clients_who_opened_nothing_do_not():
    reached = np.ones((2, 2), dtype=bool)
    first = Answers(reached, np.array([[True, False], [False, False]]))
    second = Answers(reached, np.array([[False, True], [True, True]]))
    quality = Quality.of([first, second], [np.array([[1.0, 0.0]] * 2)] * 2, [])
    assert quality.ap.tolist() == [1, 1 / 2, 1]
    assert (quality.coverage, quality.bins) == (1.0, None)


def test_a_difference_to_the_same_is_none():
    same = np.array([0.1, 0.5, 0.9])
    assert tables.difference(same, same) == (0.0, (0.0, 0.0))
    bins = np.random.default_rng(0).random((3, tables.BINS, 3))
    assert tables.calibration_difference(bins, bins) == (0.0, (0.0, 0.0))


def test_a_sheet_is_a_markdown_table():
    sheet = tables.Sheet("Peers", ["", "MAP@7"], [["ease", "0.7"]], ["one is left out"])
    assert sheet.markdown() == "**Peers**\n\n|  | MAP@7 |\n| --- | ---: |\n| ease | 0.7 |\n\none is left out"


def test_an_unknown_peer_is_refused_with_those_there_are():
    with pytest.raises(BadParameter, match="eese: known are popularity"):
        ranking.main(only=["eese"])


def test_the_best_bundle_of_a_size_is_of_products_that_the_client_may_have(model, task):
    found = best(model, task.ranked, threads=1)
    reached = model.candidates().slate(task.ranked.values).reached
    assert set(found) == {f"{by} {size}" for by in (ORDER, WHOLE, CHANCE) for size in SIZES}
    for name, positions in found.items():
        size = int(name[-1])
        enough = reached.sum(axis=1) >= size
        if name.startswith(CHANCE):
            assert (np.isfinite(positions) == enough).all()
            assert ((positions[enough] > 0) & (positions[enough] < 1)).all()
            continue
        assert (positions[~enough] == -1).all()
        assert np.take_along_axis(reached[enough], positions[enough], axis=1).all()
        assert all(len(set(row)) == size for row in positions[enough])


def test_bundles_are_asked_of_those_who_opened_that_many():
    opened = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]], dtype=bool)
    answers = Answers(np.ones((4, 4), dtype=bool), opened)
    hits = Hits.of(answers, {2: np.tile([1, 0], (4, 1)), 3: np.tile([0, 1, 2], (4, 1))})
    assert hits.size.tolist() == [2, 2, 3]
    assert hits.exact.tolist() == [True, False, False]
    assert hits.covered.tolist() == pytest.approx([1, 1 / 2, 2 / 3])


def test_a_client_for_whom_there_is_no_bundle_counts_as_missed():
    opened = np.array([[1, 1, 0]], dtype=bool)
    hits = Hits.of(Answers(np.ones((1, 3), dtype=bool), opened), {2: np.array([[-1, -1]])})
    assert (hits.exact.tolist(), hits.covered.tolist()) == ([False], [0.0])


def test_calibration_is_told_of_products_by_line_and_of_whole_bundles():
    opened = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    answers = Answers(np.array([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=bool), opened)
    products = made.CATALOG.products[:4]
    catalog = made.CATALOG.model_copy(update={"products": products})
    told = {f"{by} {size}": np.tile(np.arange(size), (2, 1)) for by in (ORDER, WHOLE) for size in SIZES}
    told |= {f"{CHANCE} {size}": np.array([0.5, 0.5 if size < 4 else np.nan]) for size in SIZES}
    rows = bundle_table.calibration("One", catalog, [answers], [np.full((2, 4), 0.5)], [told]).rows
    assert rows[0] == ["products", "6", "0.5000", "0.5000", "0.5000", "0.5000"]  # a bin for every pair
    assert sum(int(row[1]) for row in rows[1:-3]) == 6
    assert rows[-3] == ["the likeliest bundle of 2", "2", "0.5000", "0.5000", "0.5000", "0.5000"]
    assert rows[-1] == ["the likeliest bundle of 4", "1", "0.5000", "0.0000", "0.5000", "0.5000"]


def test_single_probabilities_make_the_bundle_of_the_likeliest():
    answers = Answers(np.ones((1, 4), dtype=bool), np.array([[0, 1, 0, 1]], dtype=bool))
    told = {f"{by} {size}": np.arange(size)[None] for by in (ORDER, WHOLE) for size in SIZES}
    sheet = bundle_table.sheet("One", [answers], [np.array([[0.1, 0.3, 0.2, 0.4]])], [told])
    assert [row[:4] for row in sheet.rows[:3]] == [
        ["single probabilities, all", "1", "1.0000", "1.0000"],
        ["single probabilities, of 2", "1", "1.0000", "1.0000"],
        ["the engine's order, all", "1", "0.0000", "0.5000"],
    ]
