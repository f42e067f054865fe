"""What clients are offered: bundles in their order, proposed, and priced."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.shared import (
    AuthorityOption,
    CatalogPath,
    DataFolder,
    Day,
    ObjectiveOption,
    console,
    date_of,
    keep_apart,
    open_bank,
    parquet_file,
    steps,
    terms_of,
)


def rank(
    data: DataFolder,
    as_of: Annotated[dt.datetime, typer.Option("--as-of", formats=["%Y-%m-%d"], help="Day, such as 2025-11-30.")],
    out: Annotated[
        Path, typer.Option(help="Parquet file: client_id, rank, bundle_id, score, probability.", callback=parquet_file)
    ],
    catalog: CatalogPath = DEFAULT,
    top: Annotated[
        int | None, typer.Option(help="Number of offers for each client. Default: every candidate.", min=1)
    ] = None,
    objective: ObjectiveOption = "relevance",
    authority: AuthorityOption = None,
) -> None:
    """Rank every candidate bundle for every client of a day with the champion.

    By value, the file also holds the concession, the acceptance probability and the EVA of each bundle, and the score
    is acceptance probability times EVA: docs/guides/pricing.md.
    """
    from sheaf.training.batch_ranking import rank as run
    from sheaf.training.registry import need_champion, price_response
    from sheaf.training.value_order import Aim

    keep_apart({"--out": out}, data=data)
    champion = need_champion()
    learned = price_response(as_of.date(), champion.model) if objective == "value" else None
    with steps(f"Ranking with version {champion.version}") as step:
        clients, rows = run(
            champion.model, open_bank(data), read_catalog(catalog), as_of.date(), out, top,
            lambda done: step(f"{done:,} clients"), aim=Aim(objective), authority=authority,
            learned=learned.model if learned else None,
        )  # fmt: skip
    console.print(f"{rows:,} rows for {clients:,} clients as of {as_of.date()} are in {out}.")


def discover(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="YAML file for the proposals, outside the catalog.")],
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    top: Annotated[int, typer.Option(help="Number of bundles, and of linked offers.", min=1)] = 20,
    least_support: Annotated[
        float, typer.Option(help="Smallest share of the clients of a kind with a set of products.")
    ] = 0.001,
    least_lift: Annotated[
        float, typer.Option(help="Bound that the lower end of the lift's interval must exceed; 1 is popularity alone.")
    ] = 1.2,
    window_days: Annotated[int, typer.Option(help="Days within which openings count as together.")] = 61,
    look_back_days: Annotated[int, typer.Option(help="How far back openings count.")] = 730,
    most_products: Annotated[int, typer.Option(help="Largest number of products of a proposal.")] = 4,
) -> None:
    """Propose new bundles from what clients hold and open together; a person decides on them.

    Looks at products of one client, and of linked clients (staff and employer, firm and owner). Proposals that
    popularity explains, or that the catalog has, are dropped. Each proposal has the number of clients, the lift with
    its interval, the reach, and an upper bound of the value.

    The catalog is not changed. To approve a bundle, move its entry from FILE into the catalog:
    docs/guides/discovery.md.
    """
    from sheaf.training.discovery import DiscoverySettings, outside, tables, write_proposal
    from sheaf.training.discovery import discover as search

    settings = DiscoverySettings(least_support, least_lift, window_days, look_back_days, most_products)
    sold, place = read_catalog(catalog), outside(out, catalog)
    with steps("Discovering") as step:
        found = search(open_bank(data), sold, date_of(as_of), settings, step)
    shown = found.top(top)
    write_proposal(shown, sold, place)
    for table in tables(shown, sold):
        console.print(table)
    console.print(
        f"{len(shown.bundles)} of {len(found.bundles)} bundles and {len(shown.linked)} of {len(found.linked)} linked "
        f"offers, of {found.trials:,} sets tried among {found.clients:,} clients on {found.as_of}, are in {out}. "
        "The catalog is as it was.",
        highlight=False,
    )


def recommend(
    client: Annotated[str, typer.Argument(help="The client's id.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with the bank's tables. Default: the profiles of the service."),
    ] = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    top: Annotated[int, typer.Option(help="Number of offers.", min=1)] = 5,
    objective: ObjectiveOption = "relevance",
    authority: AuthorityOption = None,
) -> None:
    """Show the best bundles for one client, with the reasons, before you call."""
    from sheaf.serving import UnknownClientError
    from sheaf.serving.runtime.preparation import load, profile_one
    from sheaf.training.value_order import Aim

    try:
        if data is None:
            answer = load(authority).recommend(client, top, objective=Aim(objective))
        else:
            with steps("Recommending") as step:
                found, accepted = profile_one(client, data, read_catalog(catalog), date_of(as_of), step, authority)
                answer = found.recommend(client, top, objective=Aim(objective), accepted=accepted)
    except UnknownClientError as error:
        raise ValueError(str(error)) from error
    console.print(offers_table(asdict(answer), f"Client {client}"))


def offers_table(answer: dict[str, Any], title: str) -> Table:
    """An answer of the service as a table a banker can read."""
    span = f"within {answer['horizon_days']} days of {answer['profile_day']}"
    table = Table(title=f"{escape(title)}: what to offer next, {span}",
                  title_justify="left", caption_justify="left", show_lines=True)  # fmt: skip
    table.add_column("", justify="right")
    table.add_column("bundle", max_width=26)
    table.add_column("products: opening probability; price", max_width=36)
    table.add_column("full bundle", justify="right")
    table.add_column("reasons")
    for offer in answer["offers"]:
        brings = [f"{escape(part['name'])} {part['probability']:.1%}" for part in offer["products"] if not part["held"]]
        has = [escape(part["name"]) for part in offer["products"] if part["held"]]
        beside = [f"[dim]held: {', '.join(has)}[/]"] if has else []
        worth = offer.get("worth")
        if worth:
            has_price = (
                f"concession {worth['concession']:,.2f}, then {worth['acceptance']:.1%} accept; EVA {worth['eva']:,.0f}"
            )
            beside.append(f"[bold]value {worth['value']:,.2f} {worth['currency']} a year[/]\n[dim]{has_price}[/]")
        if route := offer.get("route"):
            who = str(route["signs"] or "nobody").replace("_", " ")
            beside.append(f"[dim]{escape(who)} signs, {route['signature']}, {route['days']} d[/]")
        because = escape("\n".join(f"· {reason}" for reason in offer["reasons"]) or offer["why"])
        table.add_row(
            str(offer["rank"]), f"{escape(offer['name'])}\n[dim]{offer['line']}[/]", "\n".join(brings + beside),
            f"{offer['probability']:.1%}", because,
        )  # fmt: skip
    if not answer["offers"]:
        why = "rests" if answer.get("resting") else "is held"
        table.add_row("", f"nothing: all that may be sold {why}", "", "", "")
    table.caption = f"model {answer['model_version']} · catalog {answer['catalog_version']}"
    for rest in answer.get("resting", ()):
        table.caption += escape(f"\nnot offered: {rest['bundle_id'] or 'anything'} ({rest['why']})")
    if plan := answer.get("plan"):
        visit = f", visit on {plan['next_visit']}" if plan["next_visit"] else ""
        served = f"{plan['tier']} client, priority {plan['priority']}, {plan['manager']} manager, by {plan['channel']}"
        table.caption += f"\n{escape(served + visit)}"
    return table


def quote(
    client: Annotated[str, typer.Argument(help="The client's id.")],
    bundle: Annotated[str, typer.Argument(help="The id of a bundle, or of a product that is sold alone.")],
    data: DataFolder,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    authority: Annotated[
        str | None, typer.Option(help="One of the catalog's authorities. Default: the smallest.")
    ] = None,
    concession: Annotated[
        float | None, typer.Option(help="What the client saves a year. Default: the best for the bank.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--with", help="A what-if term, such as mortgage.rate=0.035 or hurdle=0.12. Repeatable."),
    ] = None,
    rating: Annotated[str | None, typer.Option(help="What-if: the client's rating.")] = None,
    suitable_until: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="What-if: last day of the client's suitability profile."),
    ] = None,
    curve: Annotated[
        Path | None, typer.Option(help="Plot of acceptance probability and expected EVA, such as q.png.")
    ] = None,
) -> None:
    """Price a bundle for a client as one relationship: lines, RAROC, EVA, the best concession."""
    from dataclasses import replace

    from sheaf.features import ProfileMatrix, profile_matrices
    from sheaf.features.acceptances import awaited_of
    from sheaf.features.client_positions import Relationships
    from sheaf.features.conditions import need_met
    from sheaf.pricing import apply_terms as changed
    from sheaf.pricing import price_bundle as price
    from sheaf.pricing.views import draw, shown
    from sheaf.pricing.what_if import OF_RESPONSE
    from sheaf.serving.engine.gates import as_rated, eligible, judged, noted
    from sheaf.training import registry
    from sheaf.training.candidates.pairs import Encoding
    from sheaf.training.price_response.inputs import pair_of
    from sheaf.training.samples import last_day

    bank, sold = open_bank(data), read_catalog(catalog)
    need_met(bank, sold)
    day = date_of(as_of) or last_day(bank)
    relationships = Relationships.of(bank, sold, day, client)
    whom = relationships.client(client, sold)
    whom = replace(
        whom,
        rating=whom.rating if rating is None else rating,
        suitable_until=date_of(suitable_until) or whom.suitable_until,
    )
    terms = terms_of(what_if or [])
    if terms:
        sold = changed(sold, terms, whom.rating)
    response, inputs, at_list = None, None, None
    champion = registry.champion()
    supposed = OF_RESPONSE & terms.keys()
    joined = ProfileMatrix.join(list(profile_matrices(bank, sold, day, [client])))
    known: Encoding | ProfileMatrix = joined
    learned = None if supposed else registry.price_response(day, champion.model if champion else None)
    if champion is not None:
        candidates = champion.model.candidates(sold)
        joined, known = champion.model.align(joined, candidates), champion.model.encoding
        pair = pair_of(champion.model, candidates, joined.values, bundle)
        if pair is not None and learned is not None:
            response, inputs = learned.model.response, pair.inputs
        elif pair is not None and "acceptance" not in supposed:  # what is supposed goes before the model's
            at_list = pair.probability
    group, left_out = relationships.group(client, sold)
    quoted = price(
        sold, whom, bundle, day, authority, concession, response, inputs, at_list, group=group, left_out=left_out
    )
    offer = next(one for one in sold.offers if one.bundle_id == bundle)
    gates = judged(
        eligible(offer, known, as_rated(known, joined.values, rating)),
        len(quoted.lines),
        len(offer.products),
        quoted.checks,
    )
    by = "own" if inputs is not None or at_list is not None or "acceptance" in supposed else "policy"
    notes = [*noted(gates, by)]
    if any(gate.status == "failed" for gate in gates):
        notes[0] = f"what-if, not to be offered: {notes[0]}"
    if why := awaited_of(bank, sold, day, client, (line.product_id for line in quoted.lines)):
        notes.insert(0, f"not to be offered again: {why}")
    console.print(*(f"[red]{escape(note)}[/]" for note in notes), shown(quoted), sep="\n", highlight=False)
    if curve is not None:
        draw(quoted, curve)
        console.print(f"The curve is in {curve}.", highlight=False)
