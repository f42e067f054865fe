"""Clients as pricing takes them, from the bank's tables as known on a day: kind, grade, sales, and what is held.

`Relationships` are those of many clients as one table, which a service maps from a file; `client_on` and `group_on`
read a bank for one.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sheaf.catalog import Catalog, Kind
from sheaf.features.atomic_replace import put, staging
from sheaf.features.bank import Bank, day_number, from_day_number
from sheaf.features.checksums import SEAL, is_sealed, seal
from sheaf.features.client_groups import GROUP, members, told
from sheaf.features.columns.demographics import open_attributes
from sheaf.features.contract import C
from sheaf.features.expressions import Frame
from sheaf.features.monthly_positions import STALE_DAYS, at_month_ends, last_month, need_rates, positions_back
from sheaf.features.snapshot import SnapshotError
from sheaf.features.table_age import ages
from sheaf.pricing import Client, Position
from sheaf.pricing.client_value import BOUNDS, Held, Own, worths
from sheaf.pricing.price_table import PriceTable, need_pricing

FORMAT = b"2"
NUMBERS = (C.BALANCE, C.RATE, C.FEES, C.LIMIT)
OWN = (C.CLIENT, C.KIND, C.RATING, C.MANAGER, C.BRANCH)
MANY = 1_000  # clients: beyond them, all ids are read at once
LARGEST_GROUP = 100  # clients that a quote adds up, and logs, to say what the group is worth
SEALED = b"sealed"  # where Arrow's metadata have the checksum
_HELD, _GROUP = "\0held", "\0group"  # no column of a bank's is named so
_FORMAT, _AS_OF, _STALE, _UNTIL, _CATALOG = b"format", b"as_of", b"stale", b"until", b"catalog"


@dataclass(frozen=True)
class Relationships:
    """The clients active on a day, one row each in `rows`, ids ascending; those of a file stay on the disk until read.

    What is held is what was open on the day, each as its position stood at the last month-end known, with a year's fees
    at that month's pace. Attributes are those that are not protected.
    """

    rows: pa.Table

    @classmethod
    def of(cls, bank: Bank, catalog: Catalog, as_of: dt.date, client_id: str | None = None) -> Relationships:
        """All clients of the bank; or the one named, if active on the day, and those of its group.

        Raises TableError for positions in a currency without a rate.
        """
        known = at_month_ends(bank.known_on(as_of), as_of)
        need_rates(known, catalog)
        groups = _groups(known, as_of)
        wanted = None
        if client_id is not None:
            mine = groups.filter(pc.equal(groups[C.CLIENT], client_id))[GROUP]
            wanted = [client_id, *groups.filter(pc.is_in(groups[GROUP], mine))[C.CLIENT].to_pylist()]
        joined = bank.clients_on(as_of).filter(nw.col(C.JOINED_ON) <= day_number(as_of), nw.col(C.LEFT_ON).is_null())
        attributes = sorted(open_attributes(bank.attributes, catalog))
        clients = _arrow(_those(joined, wanted).select(*OWN, *attributes)).sort_by(C.CLIENT)
        stale, ids = _stale(known, as_of), _texts(clients, C.CLIENT)
        clients = clients.append_column(_HELD, _held(known, catalog, as_of, wanted, ids, bool(stale)))
        group = _texts(groups, GROUP).take(pc.index_in(ids, _texts(groups, C.CLIENT)))
        about = {_FORMAT: FORMAT, _AS_OF: str(as_of).encode(), _STALE: stale.encode()}
        about[_CATALOG] = catalog.version.encode()
        about[_UNTIL] = json.dumps({age.table: str(age.last) for age in ages(bank, as_of)}).encode()
        found = cls(clients.append_column(_GROUP, group).replace_schema_metadata(about))
        found._tell_impossible(catalog)
        if client_id is None:  # a quote refuses its own client's
            found._tell_unrated(catalog)
        return found

    def write(self, path: Path) -> None:
        """As an Arrow file, uncompressed so that it can be mapped; replaces one that is there at once."""
        rows = self.rows.combine_chunks()
        about = {**(rows.schema.metadata or {}), SEALED: SEAL.encode()}
        with staging(path.parent) as new:
            made = new / path.name
            with pa.OSFile(str(made), "wb") as file, pa.ipc.new_file(file, rows.schema.with_metadata(about)) as writer:
                writer.write_table(rows)
            seal(made)
            put(made, path)

    @classmethod
    def read(cls, path: Path) -> Relationships:
        """Raises SnapshotError for what is not there, not whole, or not what was written."""
        try:
            if not is_sealed(path):  # first: what is damaged may end a process that opens it
                raise SnapshotError(
                    f"{path} holds no relationships as they were laid out: it was damaged or altered, or is of an "
                    "earlier version; lay them out anew: sheaf serve --data DIR"
                )
            rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise SnapshotError(f"{path} holds no relationships ({error}); lay them out anew: sheaf serve") from error
        if (rows.schema.metadata or {}).get(_FORMAT) != FORMAT:
            raise SnapshotError(f"{path} was laid out by another version; lay it out anew: sheaf serve")
        return cls(rows)

    @cached_property
    def as_of(self) -> dt.date:
        return dt.date.fromisoformat(self.rows.schema.metadata[_AS_OF].decode())

    @cached_property
    def until(self) -> dict[str, str]:
        """Up to which day each of the bank's dated tables told of clients, as of the day."""
        found: dict[str, str] = json.loads(self.rows.schema.metadata.get(_UNTIL, b"{}"))
        return found

    @cached_property
    def catalog_version(self) -> str:
        """Of the catalog that they were laid out for."""
        return str(self.rows.schema.metadata[_CATALOG].decode())

    def client(self, client_id: str, catalog: Catalog) -> Client:
        """The client to be priced. Raises ValueError for who is not active on the day, for attributes that are not what
        the price sheet takes them for, and where the last positions known are older than `STALE_DAYS`."""
        row = self._row(client_id)
        if row is None:
            raise ValueError(
                f"there is no client {client_id!r} on {self.as_of}; give the id of one who is active on that day"
            )
        return self._client(row, catalog)

    def group_ids(self, client_id: str) -> list[str]:
        """The active clients of the client's group, itself too; empty where it is of none."""
        return [str(one) for one in self._of_group(client_id)[C.CLIENT].to_pylist()]

    def group(self, client_id: str, catalog: Catalog) -> tuple[tuple[Client, ...], int]:
        """The active clients of the client's group (`sheaf.features.client_groups`), itself too, none where it is of
        none; and 0.

        Of a group of more than `LARGEST_GROUP`, none and its size. A rating that the catalog's grades lack counts as
        unrated, as in profiles: it is not theirs that is quoted.
        """
        grades, rows = need_pricing(catalog).grades, self._of_group(client_id)
        if len(rows) > LARGEST_GROUP:
            return (), len(rows)
        found = [self._client(one, catalog) for one in rows.to_pylist()]
        return tuple(one if one.rating in grades else replace(one, rating=None) for one in found), 0

    def _of_group(self, client_id: str) -> pa.Table:
        """The rows of the client's group, none where it is of none."""
        row = self._row(client_id)
        if row is None or row[_GROUP] is None:
            return self.rows.slice(0, 0)
        return self.rows.filter(pc.equal(self.rows[_GROUP], row[_GROUP]))

    def book(self, client_id: str) -> tuple[str | None, str | None] | None:
        """The client's manager and branch, each None where not known; None for who is not active on the day.

        The same work for both, since it decides what a caller may know: the time would tell who is a client.
        """
        if not len(self.rows):
            return None
        at = self._place(client_id)
        found = tuple(self.rows[name][0 if at is None else at].as_py() for name in (C.MANAGER, C.BRANCH))
        return None if at is None else (found[0], found[1])

    def own(self, book: PriceTable, client_ids: Sequence[str | None], cell: np.ndarray) -> Own:
        """What clients hold as it stands, (clients, products); `cell` is each one's place in the book.

        What positions do not tell, or cannot be, is typical; who is not active on the day holds nothing.
        """
        owner, product, numbers = self._positions(client_ids, book)
        held = Held(product, cell[owner], *numbers)
        place, shape = owner * len(book.products) + product, (len(client_ids), len(book.products))

        def by_client(values: np.ndarray) -> np.ndarray:
            summed = np.bincount(place, np.where(np.isnan(values), 0.0, values), shape[0] * shape[1])
            return np.asarray(summed).reshape(shape)

        whole, alone = worths(book, held)
        return Own(by_client(whole.eva), by_client(alone.eva), by_client(whole.balance))

    def _tell_impossible(self, catalog: Catalog) -> None:
        """Warns once of positions whose numbers cannot be, which an order by value takes for not known."""
        *_, columns = self._lists
        wrong = {name: int(_impossible(name, of).sum()) for name, of in zip(NUMBERS, columns, strict=True)}
        if catalog.pricing is None or not any(wrong.values()):
            return
        each = ", ".join(f"{name} {count:,}" for name, count in wrong.items() if count)
        warnings.warn(
            f"table positions: {sum(wrong.values()):,} numbers of the last month-end by {self.as_of} cannot be "
            f"({each}; negative, infinite, or a rate in percent): an order by value counts them as not known, and a "
            "quote refuses them. sheaf check names the rows",
            stacklevel=3,
        )

    def _tell_unrated(self, catalog: Catalog) -> None:
        """Warns once of ratings that the catalog's grades lack, which an order by value takes for not known."""
        if (pricing := catalog.pricing) is None:
            return
        counted = pc.value_counts(_texts(self.rows, C.RATING)).to_pylist()
        unknown = {one["values"]: one["counts"] for one in counted if one["values"] not in (None, *pricing.grades)}
        if unknown:
            named = ", ".join(f"{rating!r} {count:,}" for rating, count in sorted(unknown.items())[:5])
            warnings.warn(
                f"table clients: {sum(unknown.values()):,} clients on {self.as_of} have a rating that is none of the "
                f"catalog's grades ({named}{', …' * (len(unknown) > 5)}): an order by value prices them as "
                f"{pricing.unrated}, and a quote refuses them. Add it to pricing.grades, or correct it: sheaf check",
                stacklevel=3,
            )

    def _positions(
        self, client_ids: Sequence[str | None], book: PriceTable
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """One entry for each product held that the book has: whose it is, which it is, and the numbers of `Held`."""
        places, (offsets, codes, products, columns) = self._places(client_ids), self._lists
        start = np.where(places < 0, 0, offsets[places])
        each = np.where(places < 0, 0, offsets[places + 1] - start)
        owner = np.repeat(np.arange(len(places)), each)
        at = np.arange(len(owner)) - (np.cumsum(each) - each - start)[owner]
        product = np.array([book.positions.get(name, -1) for name in products], dtype=int)[codes[at]]
        known = product >= 0
        at, numbers = at[known], {}
        for name, column in zip(NUMBERS, columns, strict=True):
            numbers[name] = np.where(_impossible(name, column[at]), np.nan, column[at])  # `of` and `sheaf check` tell
        numbers[C.FEES] = 12 * numbers[C.FEES]
        return owner[known], product[known], list(numbers.values())

    def _places(self, client_ids: Sequence[str | None]) -> np.ndarray:
        """(clients,): their rows; -1 for who has none."""
        if len(client_ids) <= MANY:
            found = (None if client is None else self._place(client) for client in client_ids)
            return np.array([-1 if place is None else place for place in found], dtype=int)
        if not len(self._ids):
            return np.full(len(client_ids), -1)
        width = self._ids.dtype.itemsize // np.dtype("U1").itemsize  # NumPy would cast all ids to that of a longer one
        sought = ["" if client is None or len(client) > width else client for client in client_ids]
        ids = np.array(sought, dtype=self._ids.dtype)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where((self._ids[at] == ids) & (ids != ""), at, -1)

    @cached_property
    def _ids(self) -> np.ndarray:
        return np.array(self.rows[C.CLIENT].to_pylist(), dtype=str)

    @cached_property
    def _lists(self) -> tuple[np.ndarray, np.ndarray, list[str], list[np.ndarray]]:
        """Where each client's products begin, which they are by the place of their names, and their numbers, as they
        lie in the file."""
        held = _whole(self.rows[_HELD])
        if not len(held):
            return np.zeros(2, dtype=int), np.zeros(0, dtype=int), [""], [np.empty(0) for _ in NUMBERS]
        products = held.values.field(C.PRODUCT)
        names = [*products.dictionary.to_pylist(), ""]
        columns = [held.values.field(name).to_numpy() for name in NUMBERS]
        return held.offsets.to_numpy(), products.indices.to_numpy(), names, columns

    def _place(self, client_id: str) -> int | None:
        offsets, texts = self._ids_as_bytes
        sought = client_id.encode(errors="surrogatepass")  # bytes of UTF-8 are in the order of the texts
        low, high = 0, len(offsets) - 1
        while low < high:
            middle = (low + high) // 2
            if texts[offsets[middle] : offsets[middle + 1]].tobytes() < sought:
                low = middle + 1
            else:
                high = middle
        there = low < len(offsets) - 1 and texts[offsets[low] : offsets[low + 1]] == sought
        return low if there else None

    @cached_property
    def _ids_as_bytes(self) -> tuple[memoryview, memoryview]:
        """Where each id begins in the bytes of all of them, with the end of the last; and these bytes."""
        ids = _whole(self.rows[C.CLIENT])
        if not pa.types.is_string(ids.type):  # else they stay on the disk until they are read
            ids = ids.cast(pa.string())
        if not len(ids):
            return memoryview(bytes(4)).cast("i"), memoryview(b"")
        _, offsets, texts = ids.buffers()
        return memoryview(offsets).cast("i")[ids.offset : ids.offset + len(ids) + 1], memoryview(texts or b"")

    def _row(self, client_id: str) -> dict[str, Any] | None:
        at = self._place(client_id)
        return None if at is None else dict(self.rows.slice(at, 1).to_pylist()[0])

    def _client(self, row: Mapping[str, Any], catalog: Catalog) -> Client:
        pricing = need_pricing(catalog)
        if stale := self.rows.schema.metadata[_STALE].decode():
            raise ValueError(stale)
        sales = _number(row.get(pricing.turnover)) if pricing.turnover else math.nan
        held = {}
        for one in row[_HELD]:
            numbers = {name: _number(one[name]) for name in NUMBERS}
            held[one[C.PRODUCT]] = Position(numbers[C.BALANCE], numbers[C.RATE], 12 * numbers[C.FEES], numbers[C.LIMIT])
        return Client(
            row[C.CLIENT],
            Kind(row[C.KIND]),
            None if _missing(row[C.RATING]) else str(row[C.RATING]),
            None if math.isnan(sales) else sales,
            held,
            {name: _value(value) for name, value in row.items() if name not in {*OWN, _HELD, _GROUP}},
            suitable_until=_day(row, pricing.suitable_until),
            abroad=_flag(row, pricing.abroad),
        )


def _impossible(name: str, numbers: np.ndarray) -> np.ndarray:
    """Where a number of positions cannot be; what is not known can."""
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    wrong: np.ndarray = (numbers < low) | (numbers >= high) | np.isinf(numbers)
    return wrong


def client_on(bank: Bank, catalog: Catalog, as_of: dt.date, client_id: str) -> Client:
    """The client as `Relationships.client` gives it. Raises as that does."""
    return Relationships.of(bank, catalog, as_of, client_id).client(client_id, catalog)


def _those(frame: Frame, client_ids: Sequence[str] | None) -> Frame:
    return frame if client_ids is None else frame.filter(nw.col(C.CLIENT).is_in(list(client_ids)))


def _arrow(frame: Frame) -> pa.Table:
    table: pa.Table = frame.collect("pyarrow").to_native()
    return table


def _stale(known: Bank, as_of: dt.date) -> str:
    """Why positions are too old to price by; empty where they are not, or where there are none."""
    if "positions" not in known:
        return ""
    newest = known["positions"].select(nw.col(C.MONTH).max()).collect().item()
    if newest is None or day_number(as_of) - newest <= STALE_DAYS:
        return ""
    return (
        f"the last month-end of table positions by {as_of} is {from_day_number(int(newest))}, more than {STALE_DAYS} "
        "days before: give a day within that time, or newer positions"
    )


def _held(
    known: Bank, catalog: Catalog, as_of: dt.date, wanted: Sequence[str] | None, ids: pa.Array, stale: bool
) -> pa.ListArray:
    """Of each of `ids` its products, and their numbers where positions tell them."""
    sold = nw.col(C.PRODUCT).is_in([product.product_id for product in catalog.products])
    held = _those(known["holdings"], wanted).filter(nw.col(C.CLOSED_ON).is_null(), sold)
    held = held.select(C.CLIENT, C.PRODUCT).unique()
    if "positions" in known and not stale:
        positions, day = known["positions"], day_number(as_of)
        back = positions_back(_those(positions, wanted), last_month(positions, day), catalog, day)
        last = back.filter(nw.col("back") == 0).group_by(C.CLIENT, C.PRODUCT)
        held = held.join(last.agg(nw.col(name).max() for name in NUMBERS), on=[C.CLIENT, C.PRODUCT], how="left")
    else:
        held = held.with_columns(nw.lit(None).cast(nw.Float64).alias(name) for name in NUMBERS)
    table = _arrow(held.select(C.CLIENT, C.PRODUCT, *NUMBERS))
    place = pc.index_in(_texts(table, C.CLIENT), ids)
    table = table.append_column("place", place).filter(place.is_valid())
    table = table.sort_by([("place", "ascending"), (C.PRODUCT, "ascending")])
    each = np.bincount(table["place"].to_numpy(), minlength=len(ids))
    ends = pa.array(np.concatenate([[0], np.cumsum(each)]), pa.int32())
    columns = [
        _texts(table, C.PRODUCT).dictionary_encode(),
        *(_whole(table[name]).fill_null(math.nan) for name in NUMBERS),
    ]
    return pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays(columns, names=[C.PRODUCT, *NUMBERS]))


def _groups(known: Bank, as_of: dt.date) -> pa.Table:
    """Whose group is which, of the clients who are of one."""
    if not told(known):
        return pa.table({name: pa.array([], pa.string()) for name in (C.CLIENT, GROUP)})
    return _arrow(members(known, as_of).select(C.CLIENT, GROUP))


def _texts(table: pa.Table, name: str) -> pa.Array:
    return _whole(table[name].cast(pa.string()))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:  # Arrow would copy it, and with it what lies on the disk
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _day(row: Mapping[str, Any], name: str | None) -> dt.date | None:
    value = row.get(name) if name else None
    if _missing(value) or value == "":
        return None
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ValueError(
            f"table clients: {name} {value!r} of client {row[C.CLIENT]} is not a day; write it like 2024-12-31"
        ) from None


def _flag(row: Mapping[str, Any], name: str | None) -> bool:
    value = row.get(name) if name else None
    if _missing(value):
        return False
    if isinstance(value, str) or value not in (0, 1):
        raise ValueError(
            f"table clients: {name} {value!r} of client {row[C.CLIENT]} is neither true nor false; write 1 or 0"
        )
    return bool(value)


def _missing(value: Any) -> bool:
    return value is None or bool(value != value)


def _number(value: Any) -> float:
    return math.nan if _missing(value) or isinstance(value, str) else float(value)


def _value(value: Any) -> float | str | None:
    if _missing(value):
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
