"""From a client's worth and risk to how the bank serves it, by a policy that the bank edits."""

from sheaf.strategy.lists.lister import LISTS, Listed, Lister
from sheaf.strategy.managers.call_list import Calls, book_of
from sheaf.strategy.managers.scorecard import Scorecard, judge
from sheaf.strategy.plans.comparison import Comparison, compare
from sheaf.strategy.plans.explanation import (
    Change,
    Explanation,
    NeededChange,
    explained,
    explained_room,
    explained_route,
)
from sheaf.strategy.plans.linking import Linker, Room, Seat
from sheaf.strategy.plans.planner import Planner
from sheaf.strategy.plans.router import Router
from sheaf.strategy.policy.columns import profile_columns, profile_texts
from sheaf.strategy.policy.loading import StrategyError, read_strategy
from sheaf.strategy.policy.schema import DEFAULT, Strategy

__all__ = [
    "DEFAULT",
    "LISTS",
    "Calls",
    "Change",
    "Comparison",
    "Explanation",
    "Linker",
    "Listed",
    "Lister",
    "NeededChange",
    "Planner",
    "Room",
    "Router",
    "Scorecard",
    "Seat",
    "Strategy",
    "StrategyError",
    "book_of",
    "compare",
    "explained",
    "explained_room",
    "explained_route",
    "judge",
    "profile_columns",
    "profile_texts",
    "read_strategy",
]
