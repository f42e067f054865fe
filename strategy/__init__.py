"""From a client's worth and risk to how the bank serves it, by a policy that the bank edits."""

from sheaf.strategy.book import Calls, book_of
from sheaf.strategy.columns import profile_columns, profile_texts
from sheaf.strategy.comparing import Comparison, compare
from sheaf.strategy.explaining import Change, Explanation, Need, explained, explained_room, explained_route
from sheaf.strategy.linking import Linker, Room, Seat
from sheaf.strategy.lists import LISTS, Listed, Lister
from sheaf.strategy.planning import Planner
from sheaf.strategy.policy import DEFAULT, Strategy
from sheaf.strategy.reading import StrategyError, read_strategy
from sheaf.strategy.routing import Router
from sheaf.strategy.scorecard import Scorecard, judge

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
