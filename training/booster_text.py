"""LightGBM's text of a booster, checked before LightGBM reads it: what is cut off or edited may end the process."""

from __future__ import annotations

import lightgbm as lgb

_CHILDREN = ("left_child", "right_child")
_NODES = ("split_feature", "threshold", "decision_type", *_CHILDREN)


def read_booster(text: str) -> lgb.Booster:
    """Raises ValueError for a text that is not whole, or whose trees cannot be."""
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    about = _pairs(head)
    if "\nend of trees" not in text or len(about.get("tree_sizes", "").split()) != len(trees):
        raise ValueError("the text of a booster is cut off or has trees too many or too few")
    features = int(about["max_feature_idx"]) + 1
    for number, tree in enumerate(trees):
        if not _is_possible(_pairs(tree), features):
            raise ValueError(f"tree {number} of a booster was damaged")
    return lgb.Booster(model_str=text)


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _is_possible(tree: dict[str, str], features: int) -> bool:
    """Whether every node has what it needs and leads on to a later node or a leaf that is there."""
    try:
        leaves = int(tree["num_leaves"])
        nodes = leaves - 1
        if len(tree["leaf_value"].split()) != leaves or leaves < 1:
            return False
        if not nodes:
            return True
        if any(len(tree[name].split()) != nodes for name in _NODES):
            return False
        children = [[int(child) for child in tree[name].split()] for name in _CHILDREN]
        if sorted(child for side in children for child in side) != [*range(-leaves, 0), *range(1, nodes)]:
            return False
        if any(0 <= child <= node for side in children for node, child in enumerate(side)):
            return False
        return all(0 <= int(feature) < features for feature in tree["split_feature"].split())
    except (KeyError, ValueError):
        return False
