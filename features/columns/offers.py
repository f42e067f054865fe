"""What the client was offered before and what became of it."""

from __future__ import annotations

import datetime as dt

import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, day_number
from sheaf.features.contract import C
from sheaf.features.expressions import DAYS, Frame, Tables, indicator, ratio, where
from sheaf.features.feature import Feature, count, number

_MONTHS = (3, 12)


def features(bank: Bank, catalog: Catalog) -> list[Feature]:
    if "offers" not in bank:
        return []
    return [
        *(count(f"offers_{months}m", "offers", f"Offers in the last {DAYS[months]} days.") for months in _MONTHS),
        count("offers_accepted", "offers", "Offers ever accepted.", "Offers accepted so far: {value}"),
        count("offers_rejected", "offers", "Offers ever rejected.", "Offers rejected so far: {value}"),
        number("offers_accepted_share", "share", "Share of all offers ever made that were accepted."),
        number("last_offer_days", "days", "Time since the last offer."),
        number("last_rejection_days", "days", "Time since the last rejection."),
    ]


def build(known: Tables, catalog: Catalog, as_of: dt.date, clients: Frame) -> Frame:
    day = day_number(as_of)
    ago = day - nw.col(C.OFFERED_AT)
    rejected = nw.col(C.OUTCOME) == "rejected"
    counted = ("offers", "offers_accepted", "offers_rejected", *(f"offers_{months}m" for months in _MONTHS))
    sums = (
        known["offers"]
        .select(
            C.CLIENT,
            nw.lit(1.0).alias("offers"),
            *(indicator(ago < DAYS[months]).alias(f"offers_{months}m") for months in _MONTHS),
            indicator(nw.col(C.OUTCOME) == "accepted").alias("offers_accepted"),
            indicator(rejected).alias("offers_rejected"),
            ago.alias("last_offer_days"),
            where(rejected, day - nw.col(C.RESPONDED_AT)).alias("last_rejection_days"),
        )
        .group_by(C.CLIENT)
        .agg(
            *(nw.col(name).sum() for name in counted),
            nw.col("last_offer_days").min(),
            nw.col("last_rejection_days").min(),
        )
    )
    return sums.with_columns(ratio(nw.col("offers_accepted"), nw.col("offers")).alias("offers_accepted_share")).drop(
        "offers"
    )
