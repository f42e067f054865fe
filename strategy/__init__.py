"""From a client's worth and risk to how the bank serves it, by a policy that the bank edits."""

from strategy.book import Calls, book_of
from strategy.columns import profile_columns, profile_texts
from strategy.comparing import Comparison, compare
from strategy.explaining import Change, Explanation, Need, explained, explained_room, explained_route
from strategy.linking import Linker, Room, Seat
from strategy.lists import LISTS, Listed, Lister
from strategy.planning import Planner
from strategy.policy import DEFAULT, Strategy
from strategy.reading import StrategyError, read_strategy
from strategy.routing import Router
from strategy.scorecard import Scorecard, judge

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
    "Need",
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
