"""From the state of the bank to rows of the contract's tables."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from sheaf.catalog import Kind
from sheaf.simulation.balances import Statement
from sheaf.simulation.bookings import FOREIGN, Rows, recipes
from sheaf.simulation.changes import Closed, Employment
from sheaf.simulation.offers import CHANNELS, Made, Offering, Response
from sheaf.simulation.state import TEXTS, Array, Bank, Edges, Segment
from sheaf.simulation.tables import DAY, NUMBER, TEXT, Table, client_ids, days, ids, numbers, texts
from sheaf.simulation.timing import Month

ATTRIBUTES = {
    "age": NUMBER, "income": NUMBER, "children": NUMBER, "sex": TEXT, "marital_status": TEXT,
    "employees": NUMBER, "turnover": NUMBER, "export_share": NUMBER, "region": TEXT,
}  # fmt: skip
CLIENTS = {
    "client_id": TEXT, "kind": TEXT, "joined_on": DAY, "left_on": DAY, "valid_from": DAY, "manager_id": TEXT,
    "branch_id": TEXT, "group_id": TEXT, "sector": TEXT, "rating": TEXT, **ATTRIBUTES,
}  # fmt: skip
HOLDINGS = {"client_id": TEXT, "product_id": TEXT, "opened_on": DAY, "closed_on": DAY}
POSITIONS = {
    "client_id": TEXT, "product_id": TEXT, "month": DAY, "balance": NUMBER, "rate": NUMBER, "fees": NUMBER,
    "limit": NUMBER,
}  # fmt: skip
TRANSACTIONS = {
    "client_id": TEXT, "booked_at": DAY, "amount": NUMBER, "currency": TEXT, "kind": TEXT, "channel": TEXT,
    "counterparty_id": TEXT,
}  # fmt: skip
LINKS = {"client_id": TEXT, "linked_id": TEXT, "relation": TEXT, "since": DAY, "until": DAY}
OFFERS = {
    "offer_id": TEXT, "client_id": TEXT, "bundle_id": TEXT, "offered_at": DAY, "channel": TEXT,
    "list_propensity": NUMBER, "price_propensity": NUMBER, "concession": NUMBER, "outcome": TEXT, "responded_at": DAY,
}  # fmt: skip
RESPONSE = {"as_of": DAY, "client_id": TEXT, "bundle_id": TEXT, "list_price": NUMBER, "utility": NUMBER,
            "slope": NUMBER}  # fmt: skip
OUTCOMES = ("ignored", "rejected", "accepted")
TRUTH = {"as_of": DAY, "client_id": TEXT, "product_id": TEXT, "probability": NUMBER}
LEAVING = {"as_of": DAY, "client_id": TEXT, "probability": NUMBER}
MADE_OF = {"manager_id": ("manager", "M{:05d}"), "branch_id": ("branch", "B{:04d}"), "group_id": ("group", "G{:06d}"),
           "region": ("region", "region {}")}  # fmt: skip


class Records:
    """The open tables of one simulation. Use it as a context: it closes them."""

    def __init__(
        self, folder: Path, bank: Bank, currency: str, offering: Offering | None = None, attrition: bool = False
    ):
        self._folder, self._bank = folder, bank
        self._open = ExitStack()
        self._clients = self._table("clients", CLIENTS)
        self._holdings = self._table("holdings", HOLDINGS)
        self._links = self._table("links", LINKS)
        self._truth = self._table("truth/opening_probability", TRUTH)
        self._offers_made = 0
        if offering:
            self._bundles = [offer.bundle_id for offer in offering.catalog.offers]
            self._offers = self._table("offers", OFFERS)
            self._response = self._table("truth/offer_response", RESPONSE)
        if attrition:
            self._leaving = self._table("truth/leaving_probability", LEAVING)
        self._currencies = [currency, *(foreign for foreign in FOREIGN if foreign != currency)]

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _table(self, name: str, columns: dict[str, pa.DataType]) -> Table:
        return self._open.enter_context(Table(self._folder / f"{name}.parquet", columns))

    def month(self, month: Month) -> tuple[Table, Table]:
        """The tables of the month's positions and transactions; the caller closes them."""
        return (
            Table(self._folder / "positions" / f"{month.name}.parquet", POSITIONS),
            Table(self._folder / "transactions" / f"{month.name}.parquet", TRANSACTIONS),
        )

    def _ids(self, segment: Segment, clients: Array) -> pa.Array:
        return ids(self._bank.number, clients + segment.first)

    def _block_ids(self, segment: Segment, block: slice, clients: Array) -> pa.Array:
        """As `_ids`, of clients of one block: the dictionary is the block's clients, which saves the sorting."""
        numbers_ = self._bank.number[segment.first + block.start : segment.first + block.stop]
        return texts(clients - block.start, client_ids(numbers_))

    def clients(self, segment: Segment, clients: Array, valid_from: Array) -> None:
        """What is known of these clients from these days on."""
        columns: dict[str, pa.Array] = {
            "client_id": self._ids(segment, clients),
            "kind": texts(segment.kind[clients], Kind),
            "joined_on": days(segment.joined[clients]),
            "left_on": days(segment.left[clients], segment.left[clients] > 0),
            "valid_from": days(valid_from),
        }
        for name, kind in CLIENTS.items():
            if name in columns:
                continue
            attribute, pattern = MADE_OF.get(name, (name, ""))
            if attribute not in segment.attributes:
                columns[name] = pa.nulls(len(clients), kind)
                continue
            values = segment.attributes[attribute][clients]
            if pattern:
                unique, codes = np.unique(values, return_inverse=True)
                missing = int((unique < 0).sum())
                columns[name] = texts(codes - missing, [pattern.format(value) for value in unique[missing:]])
            elif kind == TEXT:
                columns[name] = texts(values, TEXTS[name])
            else:
                columns[name] = numbers(np.round(values.astype(np.float64), 2))
        self._clients.write(*(columns[name] for name in CLIENTS))

    def closed(self, segment: Segment, ended: Closed) -> None:
        """Holdings that ended."""
        clients, products = self._ids(segment, ended.client), texts(ended.product, segment.products)
        self._holdings.write(clients, products, days(ended.opened), days(ended.closed))

    def still_open(self, segment: Segment, block: slice) -> None:
        """The block's holdings that are open at the end."""
        product, client = np.nonzero(segment.opened[:, block])
        opened = segment.opened[product, client + block.start]
        never = np.zeros(len(client), dtype=bool)
        clients, products = self._block_ids(segment, block, client + block.start), texts(product, segment.products)
        self._holdings.write(clients, products, days(opened), days(opened, never))

    def positions(self, table: Table, segment: Segment, block: slice, month: Month, stated: Statement) -> None:
        """The month-end positions of a block."""
        table.write(
            self._block_ids(segment, block, stated.client),
            texts(stated.product, segment.products),
            days(np.full(len(stated.client), month.last)),
            numbers(np.round(stated.balance.astype(np.float64), 2)),
            numbers(np.round(stated.rate.astype(np.float64), 4)),
            numbers(np.round(stated.fees.astype(np.float64), 2)),
            numbers(np.round(stated.limit.astype(np.float64), 2)),
        )

    def transactions(self, table: Table, segment: Segment, block: slice, rows: Rows) -> None:
        """The month's bookings of a block."""
        sorts = recipes(segment)
        kinds, channels = (sorted({sort[part] for sort in sorts}) for part in (0, 1))
        of_kind = np.array([kinds.index(kind) for kind, _, _ in sorts])
        of_channel = np.array([channels.index(channel) for _, channel, _ in sorts])
        foreign = np.array([is_foreign for _, _, is_foreign in sorts])
        abroad = 1 + segment.abroad[rows.client] % (len(self._currencies) - 1)
        table.write(
            self._block_ids(segment, block, rows.client),
            days(rows.day),
            numbers(rows.amount),
            texts(np.where(foreign[rows.recipe], abroad, 0), self._currencies),
            texts(of_kind[rows.recipe], kinds),
            texts(of_channel[rows.recipe], channels),
            ids(self._bank.number, rows.counterparty),
        )

    def former_jobs(self, ended: Employment) -> None:
        """Jobs that ended."""
        retail, firms = self._bank.retail, self._bank.firms
        self._links.write(
            self._ids(retail, ended.person), self._ids(firms, ended.employer),
            texts(np.zeros(len(ended.person)), ["employer"]), days(ended.since), days(ended.until),
        )  # fmt: skip

    def links(self, last_day: int) -> None:
        """Every tie there was but the jobs that ended before; those that begin after `last_day` are left out."""
        bank = self._bank
        staff = np.flatnonzero(bank.employer >= 0)
        jobs = Edges("employer", staff, bank.employer[staff], bank.employed_since[staff])
        for edges, ours, theirs in (
            (jobs, bank.retail, bank.firms),
            (bank.owners, bank.firms, bank.retail),
            (bank.suppliers, bank.firms, bank.firms),
            (bank.heads, bank.firms, bank.firms),
            (bank.guarantors, bank.firms, bank.retail),
        ):
            ends = [side.left[places] for side, places in ((ours, edges.source), (theirs, edges.target))]
            until = np.minimum(*(np.where(end > 0, end, np.iinfo(np.int32).max) for end in ends))
            kept = np.flatnonzero((edges.since <= last_day) & (edges.since <= until))
            source, target, until = edges.source[kept], edges.target[kept], until[kept]
            self._links.write(
                self._ids(ours, source), self._ids(theirs, target), texts(np.zeros(len(kept)), [edges.relation]),
                days(edges.since[kept]), days(until, until <= last_day),
            )  # fmt: skip

    def truth(self, segment: Segment, block: slice, as_of: int, probability: Array) -> None:
        """The probabilities that the month's openings of a block were drawn with."""
        product, client = np.nonzero(~np.isnan(probability))
        self._truth.write(
            days(np.full(len(client), as_of)),
            self._block_ids(segment, block, client + block.start),
            texts(product, segment.products),
            numbers(probability[product, client]),
        )

    def leaving(self, segment: Segment, block: slice, as_of: int, probability: Array) -> None:
        """The probabilities that those of a block who are clients on the day leave in the month after it."""
        client = np.flatnonzero(segment.active(as_of, block))
        self._leaving.write(
            days(np.full(len(client), as_of)),
            self._block_ids(segment, block, client + block.start),
            numbers(probability[client]),
        )

    def offers(self, segment: Segment, block: slice, made: Made, month: Month) -> None:
        """The month's offers to a block, and what became of them."""
        first = self._offers_made + 1
        self._offers_made += len(made.client)
        names = [f"O{number:08d}" for number in range(first, self._offers_made + 1)]
        self._offers.write(
            texts(np.arange(len(names)), names),
            self._block_ids(segment, block, made.client + block.start),
            texts(made.offer, self._bundles),
            days(np.full(len(names), month.first)),
            texts(made.channel, CHANNELS),
            numbers(np.full(len(names), np.nan)),  # which bundles came to mind is not logged
            numbers(made.price_propensity),
            numbers(made.concession),
            texts(made.rejected + 2 * made.accepted, OUTCOMES),
            days(made.day),
        )

    def response(self, segment: Segment, block: slice, as_of: int, truth: Response) -> None:
        """How clients of a block would answer to every offer that they might be made, by its concession."""
        offer, client = np.nonzero(truth.possible)
        self._response.write(
            days(np.full(len(client), as_of)),
            self._block_ids(segment, block, client + block.start),
            texts(offer, self._bundles),
            *(numbers(of[offer, client]) for of in (truth.list_price, truth.utility, truth.slope)),
        )
