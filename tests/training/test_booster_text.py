"""A booster's text that is cut off or edited is refused before LightGBM, which it might end, reads it."""

from __future__ import annotations

import re

import lightgbm as lgb
import numpy as np
import pytest

from sheaf.training.booster_text import read_booster


@pytest.fixture(scope="module")
def text() -> str:
    values = np.random.default_rng(1).normal(size=(500, 4))
    data = lgb.Dataset(values, (values[:, 0] + values[:, 1] > 0).astype(float))
    settings = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    return lgb.train(settings, data, 5).model_to_string()


def test_a_whole_text_is_read(text: str) -> None:
    assert read_booster(text).num_trees() == 5


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_a_text_that_is_cut_off_is_refused(text: str, share: float) -> None:
    with pytest.raises(ValueError, match="cut off"):
        read_booster(text[: int(len(text.partition("end of trees")[0]) * share)])


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"left_child=\S+", "left_child=99999"),
        (r"left_child=\S+", "left_child=0"),
        (r"right_child=\S+ ", "right_child="),
        (r"split_feature=\S+", "split_feature=400"),
        (r"num_leaves=\d+", "num_leaves=70000"),
        (r"leaf_value=\S+ ", "leaf_value="),
        (r"threshold=\S+ ", "threshold="),
    ],
)
def test_a_tree_that_was_edited_is_refused(text: str, pattern: str, instead: str) -> None:
    edited = re.sub(pattern, instead, text, count=1)
    assert edited != text
    with pytest.raises(ValueError, match="tree 0 of a booster was damaged"):
        read_booster(edited)
