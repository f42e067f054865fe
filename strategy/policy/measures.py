"""The measures that a policy's scorecard may name: in words, and as a part and a whole of each client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SATISFACTION, NON_PERFORMING = "satisfaction", "non_performing"
"""Attributes of clients that a bank may hand over: a number, and 1 or 0 for who does not pay."""


@dataclass(frozen=True)
class Definition:
    """A measure in words, and its part and whole as SQL over the columns of `sheaf.strategy.managers.measures`.

    `by_kind`: clients who are new have no size before, so that they are compared by kind alone. `counted`: the whole is
    a number of cases."""

    label: str
    unit: str  # money, share, rate (a fraction a year), count, mean
    needs: str  # positions, before (positions of the month before), prices, transactions, offers, satisfaction, ""
    part: str
    whole: str = "1"
    by_kind: bool = False
    counted: bool = False

    @property
    def summed(self) -> bool:
        """Whether it is an amount."""
        return self.unit in ("money", "count")


MEASURES: Mapping[str, Definition] = {
    "deposits_local": Definition("Deposits, own currency: change", "money", "before", "deposits_local"),
    "deposits_foreign": Definition("Deposits, foreign: change", "money", "before", "deposits_foreign"),
    "share_of_wallet": Definition("Share of wallet", "share", "positions", "volume", "greatest(volume, wallet)"),
    "satisfaction": Definition("Satisfaction", "mean", "satisfaction", "coalesce(satisfaction, 0)",
                               "(satisfaction is not null)::integer"),
    "clients_won": Definition("Clients won", "count", "", "won::integer", "1 - won::integer", by_kind=True),
    "non_performing": Definition("Non-performing loans", "share", "positions", "if(bad, loans, 0)", "loans"),
    "rate_achieved": Definition("Rate achieved against list", "rate", "prices", "gain", "priced"),
    "assets_preserved": Definition("Assets preserved", "share", "before",
                                   "if(watched, loans_before - if(bad, least(loans, loans_before), 0), 0)",
                                   "if(watched, loans_before, 0)"),
    "foreign_exchange": Definition("Foreign exchange: turnover", "money", "transactions", "turnover_foreign"),
    "settlement": Definition("Settlement: turnover", "money", "transactions", "turnover_local"),
    "fees": Definition("Fees", "money", "positions", "fees"),
    "offers_made": Definition("Offers made", "count", "offers", "made"),
    "offers_accepted": Definition("Offers accepted, of answered", "share", "offers", "accepted", "answered",
                                  counted=True),
}  # fmt: skip
