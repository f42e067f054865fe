"""The contest for the champion's place: of rankers, price responses and attrition models alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEAST = 20  # deciding events, and as many of the contrary where both count: of fewer a mean says little
TERMS = {"horizon_days": "a horizon of {} days", "catalog": "the catalog {}", "cohort": "a cohort of {}"}
BY_HAND = "To use it all the same, give its version the alias champion in MLflow."


@dataclass(frozen=True)
class Verdict:
    """Whether a model becomes champion; if not, `why` says the reason and what to do."""

    promoted: bool
    why: str = ""


def differing(about: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    """How a model and the champion were learned on different terms, in words; empty where they were not."""
    both = [(words, about.get(key), champion.get(key)) for key, words in TERMS.items()]
    return " and ".join(
        f"{words.format(mine)}, the champion with {words.format(theirs)}"
        for words, mine, theirs in both
        if mine is not None and theirs is not None and mine != theirs
    )


def contest(
    about: Mapping[str, Any], champion: Mapping[str, Any] | None, losing_to: str, deciding: int, events: str
) -> Verdict:
    """The verdict on a model learned on terms `about`, beside the present champion's (None: there is none).

    `losing_to` names what it is no better than, empty where it is better than all; `deciding` counts the `events` that
    the comparison with the champion rests on.
    """
    if champion is not None and (terms := differing(about, champion)):
        return Verdict(
            False,
            f"The contest is refused: this model was learned with {terms}. The champion stays. Learn it on the "
            f"champion's terms. {BY_HAND}",
        )
    if champion is not None and deciding < LEAST:
        return Verdict(
            False,
            f"Not enough to say: {deciding} {events} decide, that the champion has not learned from, and {LEAST} are "
            f"needed. The champion stays. Give more clients, or wait for later days. {BY_HAND}",
        )
    if losing_to:
        return Verdict(
            False,
            f"It does not answer, as it is no better than {losing_to}. Give more as-of days, more clients, or what "
            f"else tells of it in the tables. {BY_HAND}",
        )
    return Verdict(True)
