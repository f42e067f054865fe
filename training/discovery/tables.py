"""A discovery as tables that a person can read on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from sheaf.catalog import Catalog
from sheaf.training.discovery.baskets import HELD, OPENED
from sheaf.training.discovery.evidence import Evidence
from sheaf.training.discovery.proposal import Discovery, Stake


def tables(discovery: Discovery, catalog: Catalog) -> list[Table]:
    """One of bundles and, where there are any, one of linked offers; each row with evidence and what is at stake."""
    bundles = _table("New bundles", "bundle", catalog)
    for number, proposal in enumerate(discovery.bundles, 1):
        products = [catalog.product(product) for product in proposal.bundle.products]
        lines = dict.fromkeys(str(product.line) for product in products)
        about = f"[dim]{', '.join(proposal.bundle.kinds)}; {' + '.join(lines)}[/]"
        names = "\n+ ".join(escape(product.name) for product in products)
        bundles.add_row(str(number), f"{names}\n{about}", *_cells(proposal.evidence, proposal.stake))
    if not discovery.bundles:
        bundles.add_row("", "none: popularity and the catalog explain all that goes together", *[""] * 5)
    if not discovery.linked:
        return [bundles]
    linked = _table("Linked offers: no bundle holds products of two clients", "where → offer", catalog)
    for number, offer in enumerate(discovery.linked, 1):
        where = f"{offer.where_side}: {escape(catalog.product(offer.where_product).name)}"
        what = "\n+ ".join(escape(catalog.product(product).name) for product in offer.products)
        cells = _cells(offer.evidence, offer.stake)
        linked.add_row(str(number), f"{where}\n→ {offer.side}: {what}\n[dim]tied by {offer.relation}[/]", *cells)
    return [bundles, linked]


def _table(title: str, what: str, catalog: Catalog) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("", justify="right")
    table.add_column(what)
    for name in ("held together\nlift", "opened together\nlift", "reaches", "would\ncomplete it"):
        table.add_column(name, justify="right")
    table.add_column(f"worth at most\n{catalog.currency} a year", justify="right")
    return table


def _cells(evidence: tuple[Evidence, ...], stake: Stake) -> list[str]:
    ways = {one.way: one for one in evidence}
    value = f"{stake.value:,.0f}" if stake.value else "–"
    return [*(_evidence(ways.get(way)) for way in (HELD, OPENED)), f"{stake.reach:,}", f"{stake.takers:,.0f}", value]


def _evidence(one: Evidence | None) -> str:
    if one is None:
        return "–"
    low, high = one.interval
    return f"{one.clients:,} ({one.support:.1%})\n{one.lift:.2f} ({low:.2f} to {high:.2f})"
