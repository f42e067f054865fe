"""From a client's worth and risk to how the bank serves it, by a policy that the bank edits."""

from strategy.columns import profile_columns, profile_texts
from strategy.comparing import Comparison, compare
from strategy.explaining import Change, Explanation, Need, explained, explained_room, explained_route
from strategy.linking import Linker, Room, Seat
from strategy.planning import Planner
from strategy.policy import DEFAULT, Strategy
from strategy.reading import StrategyError, read_strategy
from strategy.routing import Router

__all__ = [
    "DEFAULT",
    "Change",
    "Comparison",
    "Explanation",
    "Linker",
    "Need",
    "Planner",
    "Room",
    "Router",
    "Seat",
    "Strategy",
    "StrategyError",
    "compare",
    "explained",
    "explained_room",
    "explained_route",
    "profile_columns",
    "profile_texts",
    "read_strategy",
]
