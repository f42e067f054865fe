"""A quote as a person reads it: tables, and the curve as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from sheaf._extras import needs_extra
from sheaf.pricing.concession_split import Element
from sheaf.pricing.quote import Quote

MARKS = {"kept": "[green]kept[/]", "broken": "[red]broken[/]", "open": "[yellow]open[/]"}


def shown(quote: Quote) -> Group:
    """Prices, economics, relationship, and what there is to know beside them."""
    return Group(_prices(quote), _economics(quote), _relationship(quote), "\n".join(_told(quote)))


def _prices(quote: Quote) -> Table:
    title = f"{quote.bundle.name} for client {quote.client_id}, {quote.currency} a year, as of {quote.as_of}"
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    ends = (f"{line.name} ends: {line.cancellation or 'not stated'}" for line in quote.lines)
    table.caption = escape("\n".join(ends))
    for name in ("", "list price", "offered", "benefit", "list", "conceded", "price"):
        table.add_column(name, justify="left" if name in ("", "benefit") else "right")
    for line in quote.lines:
        alone = "" if line.alone else " [dim](not alone)[/]"
        for at, part in enumerate(line.elements):
            table.add_row(
                f"{escape(line.name)}{alone}" if not at else "",
                _price(part, part.list_price), _price(part, part.price),
                (part.benefit or "").replace("_", " "),
                f"{part.list_amount:,.2f}", f"{part.concession:,.2f}", f"{part.amount:,.2f}",
            )  # fmt: skip
    table.add_section()
    a = quote.total
    table.add_row("total", "", "", "", f"{a.list_price:,.2f}", f"{a.concession:,.2f}", f"[bold]{a.price:,.2f}[/]")
    return table


def _price(part: Element, price: float) -> str:
    if part.kind == "rate":
        return f"{price:.3%}"
    return {"balance": f"{price:.3%} of balance", "fee": f"{price:,.2f}"}.get(part.kind, f"{price:,.4f} a unit")


def _economics(quote: Quote) -> Table:
    """A column a product: money has the same digits however narrow the terminal is."""
    table = Table(title="What it brings the bank, a year", title_justify="left", caption_justify="left")
    table.caption = "loss: expected; net: after tax; even at: the margin at which RAROC is the hurdle"
    table.add_column("")
    for name in (*(escape(line.name) for line in quote.lines), "total"):
        table.add_column(name, justify="right", min_width=10)
    balances = [f"{line.balance:,.0f}" if line.balance else "" for line in quote.lines]
    table.add_row("balance", *balances, "", end_section=True)
    amounts = [*(line.amounts for line in quote.lines), quote.total]
    money = {"margin": "margin", "fees": "fees", "cost": "-opex", "loss": "-expected_loss", "tax": "-tax",
             "net": "net_income", "capital": "capital", "EVA": "eva"}  # fmt: skip
    for name, field in money.items():
        sign = -1 if field.startswith("-") else 1
        told = (f"{sign * getattr(of, field.lstrip('-')) + 0:,.2f}" for of in amounts)
        table.add_row(name, *told, end_section=name == "EVA")
    table.add_row("RAROC", *(_ratio(line.raroc) for line in quote.lines), _ratio(quote.raroc))
    evens = (line.break_even_margin for line in quote.lines)
    table.add_row("even at", *("–" if even != even else f"{even:.2%}" for even in evens), "")
    return table


def _ratio(value: float) -> str:
    return "–" if value != value else f"{value:.1%}"


def _relationship(quote: Quote) -> Table:
    table = Table(title="The relationship, a year", title_justify="left")
    for name in ("", "contribution", "net income", "capital", "EVA", "RAROC"):
        table.add_column(name, justify="left" if not name else "right")
    for one in (*quote.relationship, *([quote.group] if quote.group else [])):
        if one is quote.group:
            table.add_section()
        money = (one.contribution, one.net_income, one.capital, one.eva)
        table.add_row(one.state, *(f"{amount:,.2f}" for amount in money), _ratio(one.raroc))
    return table


def _told(quote: Quote) -> list[str]:
    q = quote
    even = f" At a concession of {q.break_even:,.2f} the bundle earns the hurdle and no more." if q.meets_hurdle else ""
    met = f"RAROC {_ratio(q.raroc)}, the hurdle is {q.hurdle:.1%}"
    told = [
        f"Acceptance {q.acceptance_at_list:.1%} at list price, {q.acceptance:.1%} at this one; expected EVA "
        f"{q.expected_eva:,.2f}.{even}",
        f"{met}." if q.meets_hurdle else f"[red]Misses the hurdle[/]: {met}. {escape(q.remedy)}.",
    ]
    if q.above > 0:
        whom = f"goes to the {_words(q.goes_to)}" if q.goes_to else "is beyond what anybody may grant"
        told.append(
            f"The {_words(q.authority)} may concede {q.limit:,.2f}. {q.ideal:,.2f} is {q.above:,.2f} above that, and "
            f"{whom}."
        )
    if q.kept or q.moved:
        told.append(
            f"Accepting keeps EVA of {q.kept:,.2f} in the relationship and takes {q.moved:,.2f} from products held."
        )
    told += [f"{MARKS[check.status]}: {escape(check.rule)}: {escape(check.text)}" for check in q.checks]
    return told + [f"[dim]{escape(note)}[/]" for note in q.notes]


def draw(quote: Quote, path: Path) -> None:
    """Acceptance and expected EVA over the concession, as a picture of the kind that the file's name ends in."""
    with needs_extra("train"):
        from matplotlib.figure import Figure

    curve = quote.curve
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(curve.concession, curve.expected_eva, color="tab:blue")
    axes.set_xlabel(f"concession, {quote.currency} a year")
    axes.set_ylabel(f"expected EVA, {quote.currency} a year", color="tab:blue")
    axes.axvline(float(quote.concession), color="black", label="offered")
    axes.axvline(quote.limit, color="gray", linestyle=":", label=f"limit of the {_words(quote.authority)}")
    if quote.break_even <= curve.concession[-1]:
        axes.axvline(quote.break_even, color="tab:red", linestyle="--", label="break-even")
    axes.legend(loc="upper right")
    beside = axes.twinx()
    beside.plot(curve.concession, curve.acceptance, color="tab:orange")
    beside.set_ylabel("acceptance" + (", assumed" if quote.assumption else ""), color="tab:orange")
    beside.set_ylim(0, 1)
    axes.set_title(f"{quote.bundle.name} for client {quote.client_id}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _words(name: str) -> str:
    return escape(name.replace("_", " "))
