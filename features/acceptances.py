"""What clients accepted and the bank's holdings do not show yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import narwhals as nw

from sheaf.catalog import Catalog
from sheaf.features.bank import Bank, day_number, from_day_number
from sheaf.features.contract import Answered, C
from sheaf.features.table_age import STOPPED, reach


def awaited_since(day: dt.date, last: dt.date | None) -> dt.date:
    """From which day on what was accepted may not be in holdings as of the day, of which the `last` tell; where no
    opening is so recent that the table cannot have stopped, the day itself."""
    return day if last is None or (day - last).days > STOPPED else min(day, last)


def not_shown_yet(products: Iterable[str], accepted_on: dt.date, day: dt.date) -> str:
    """What is said of products that were accepted on a day, and that the tables of another do not show."""
    return f"{', '.join(sorted(products))} accepted on {accepted_on}; the tables of {day} do not show it yet"


def awaited_of(bank: Bank, catalog: Catalog, day: dt.date, client: str, products: Iterable[str]) -> str | None:
    """What has to be said of a bundle that brings a client these products: which of them it accepted, and holdings do
    not show as of the day. None where it accepted none."""
    last = awaited(bank, catalog, day, [client]).get(client, {})
    if known := last.keys() & {*products}:
        told = reach(bank, "holdings", day)
        shown = awaited_since(day, None if told is None else from_day_number(told))
        return not_shown_yet(known, max(last[product] for product in known), shown)
    return None


def awaited(
    bank: Bank, catalog: Catalog, day: dt.date, clients: Sequence[str] | None = None, since: dt.date | None = None
) -> dict[str, dict[str, dt.date]]:
    """By client, of these or of all, the products of bundles that were accepted, by table `offers` as known on the day,
    with the last day of that; a client without any is not there.

    They count from the last day on that holdings tell of, or from the day `since` where that is earlier. An acceptance
    without its day is not known on any; of a bundle that the catalog lacks nothing is known.
    """
    if "offers" not in bank:
        return {}
    told = reach(bank, "holdings", day)
    first = day_number(min(since or day, awaited_since(day, None if told is None else from_day_number(told))))
    rows = bank.known_on(day)["offers"].filter(
        nw.col(C.OUTCOME) == Answered.ACCEPTED.value, nw.col(C.RESPONDED_AT) >= first
    )
    if clients is not None:
        rows = rows.filter(nw.col(C.CLIENT).is_in(list(clients)))
    parts = {offer.bundle_id: offer.products for offer in catalog.offers}
    parts |= {product.product_id: (product.product_id,) for product in catalog.products}
    found: dict[str, dict[str, dt.date]] = {}
    for client, bundle, responded in rows.select(C.CLIENT, C.BUNDLE, C.RESPONDED_AT).collect("pyarrow").rows():
        at = from_day_number(responded)
        of_client = found.setdefault(str(client), {})
        for product in parts.get(bundle, ()):
            of_client[product] = max(at, of_client.get(product, at))
    return found
