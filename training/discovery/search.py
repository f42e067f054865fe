"""The whole search: a bank's tables as of a day in, everything that it could sell together and does not, out."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable

from sheaf.catalog import Catalog
from sheaf.features import Bank, from_day_number
from sheaf.training.discovery.across import find_linked, read_ties
from sheaf.training.discovery.baskets import held_baskets, opened_baskets
from sheaf.training.discovery.book import DiscoveryError, HoldingsHistory, segments
from sheaf.training.discovery.evidence import DiscoverySettings
from sheaf.training.discovery.proposal import Discovery
from sheaf.training.discovery.within import find_bundles
from sheaf.training.samples import last_day


def discover(
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date | None = None,
    settings: DiscoverySettings | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Discovery:
    """New bundles and linked offers, from what clients hold on a day and opened together in the time before it.

    `as_of` is the day of the bank's last opening where it is not given; nothing dated later is looked at. Raises
    DiscoveryError where the catalog has one product only, or the day no client or no holding; warns where the bank's
    last opening lies a window or more before the day.
    """
    settings = settings or DiscoverySettings()
    if len(catalog.products) < 2:
        raise DiscoveryError("the catalog sells one product only, and a bundle takes two; add products to it")
    day = as_of or last_day(bank)
    progress(f"clients and holdings on {day}")
    book = HoldingsHistory.read(bank, catalog, day)
    last = int(book.opened.max())
    if last <= book.day - settings.window_days:
        warnings.warn(
            f"as-of {day}: the last opening known is of {from_day_number(last)}; if the bank opened more since, "
            "hand it over, or take an earlier day",
            stacklevel=2,
        )
    segment = segments(book.attributes, book.held(book.day))
    ways = held_baskets(book, segment), opened_baskets(book, segment, settings.window_days, settings.windows)
    bundles, trials = find_bundles(book, catalog, ways, settings, progress)
    linked, linked_trials = find_linked(book, catalog, read_ties(bank, book), settings, progress)
    return Discovery(day, len(book.client_ids), trials + linked_trials, tuple(bundles), tuple(linked))
