"""How clients are served, how bundles are approved, and who sells them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.cli.shared import (
    CatalogPath,
    Day,
    OffersFile,
    PolicyFile,
    PreviousFile,
    ProfilesFile,
    console,
    date_of,
    keep_apart,
    of_one_day,
    open_bank,
    parquet_file,
    policy_of,
    steps,
    terms_of,
)


def plan(
    client: Annotated[str | None, typer.Argument(help="The client's id. Default: all, into --out.")] = None,
    bundle: Annotated[str | None, typer.Argument(help="Show the approval route of this bundle.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with the bank's tables, in place of --profiles.")
    ] = None,
    profiles: ProfilesFile = None,
    catalog: CatalogPath = DEFAULT,
    as_of: Day = None,
    policy: PolicyFile = None,
    previous: PreviousFile = None,
    offers: OffersFile = None,
    concession: Annotated[float, typer.Option(help="Of the bundle: what the client saves a year.", min=0.0)] = 0.0,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file, one row for each client.", callback=parquet_file)
    ] = None,
    routes: Annotated[
        Path | None, typer.Option(help="Parquet file for the approval routes of offers.", callback=parquet_file)
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Publish them to the running service.")] = False,
    linked: Annotated[
        list[str] | None,
        typer.Option(help="Also offer a bundle to linked clients, such as staff=salary_package. Repeatable."),
    ] = None,
    desks: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file for the desks that sell each offer, and what each gains.", callback=parquet_file
        ),
    ] = None,
) -> None:
    """Plan how clients are served, how bundles are approved, and which desks sell them.

    For one client: the rule behind every outcome, and what would change it. For all clients: a file, which is the
    --previous of the next run.
    """
    from sheaf.features import feature_dictionary, profile_tables, write_parquet, written_as_of
    from sheaf.features.conditions import need_met
    from sheaf.strategy import Linker, Planner, Router
    from sheaf.training.samples import last_day

    if (data is None) == (profiles is None):
        raise ValueError("say whose plans to make: --data FOLDER, or --profiles FILE")
    day = date_of(as_of) or (written_as_of(profiles) if profiles else None)
    if profiles is not None and day is None:
        raise ValueError(f"--profiles {profiles} does not say as of which day it is; give it with --as-of")
    files = [place for place in (out, routes, desks) if place]
    if client is None and not files and not serve:
        raise ValueError("say whom to show: CLIENT, or where all plans shall go: --out FILE.parquet, or --serve")
    if client is not None and (files or serve):
        raise ValueError(
            "one client is shown, and all go into files: leave CLIENT out, or --out, --routes, --desks and --serve"
        )
    if concession and bundle is None:
        raise ValueError("--concession is one on a bundle: name it, CLIENT BUNDLE")
    if linked and (bundle is None or data is None):
        raise ValueError(
            "--linked goes with a client's bundle and the bank that its links are in: CLIENT BUNDLE --data"
        )
    if routes is not None and offers is None:
        raise ValueError("--routes wants the offers to approve: --offers FILE.parquet")
    if desks is not None and offers is None:
        raise ValueError("--desks wants the offers to sell: --offers FILE.parquet")
    keep_apart({"--out": out, "--routes": routes, "--desks": desks}, {"--profiles": profiles, "--offers": offers}, data)
    sold, bank = read_catalog(catalog), None if data is None else open_bank(data)
    day = day or last_day(bank)  # type: ignore[arg-type]  # without a bank there is a day
    of_one_day(
        day,
        "--as-of" if as_of or profiles is None else "--profiles",
        {"--profiles": profiles, "--offers": offers},
        previous,
    )
    if bank:
        need_met(bank, sold)
    columns = {one.name: one.type for one in feature_dictionary(bank, sold)} if bank else None
    chosen = policy_of(policy, sold, profiles, columns, told=bank is not None)
    planner = Planner(chosen, day, previous, offers)

    def source(cohort: list[str] | None = None) -> Any:
        return profiles if bank is None else profile_tables(bank, sold, day, cohort)

    if client is not None:
        _show_plan(planner, sold, bank, source([client]), client, bundle, concession)
        if linked and bundle and bank:
            _show_package(planner, sold, bank, client, bundle, terms_of(linked, "--linked", "staff=salary_package"))
        return
    with steps(f"Plans as of {day}") as step:
        if out is not None:
            step(str(out))
            write_parquet(out, planner.plans(source()), day)
        if routes is not None:
            step(str(routes))
            write_parquet(routes, Router(planner, sold).of_offers(source()), day)
        if desks is not None:
            step(str(desks))
            write_parquet(desks, Linker(chosen, sold).of_offers(Router(planner, sold), source()), day)
        if serve:
            from sheaf.serving.runtime.preparation import lay_out_plans

            step("for the service")
            lay_out_plans(planner, source())
    places = " and ".join([*map(str, files), *(["the service"] if serve else [])])
    console.print(escape(f"By policy {chosen.name} {chosen.version}, as of {day}: {places}."), highlight=False)


def _show_plan(
    planner: Any, sold: Any, bank: Any, source: Any, client: str, bundle: str | None, concession: float
) -> None:
    from sheaf.features.acceptances import awaited_of
    from sheaf.pricing import NoPriceSheetError
    from sheaf.serving.engine.gates import of_profile
    from sheaf.strategy import Linker, Router, explained, explained_room, explained_route
    from sheaf.strategy.plans.linking import quoted
    from sheaf.strategy.views.plans import plan_table, room_table, route_table

    router, linker = Router(planner, sold) if bundle else None, Linker(planner.policy, sold)
    source = source if isinstance(source, Path) else [*source]
    asked = _asked_by_gates(planner, sold, source, bundle) if bundle else set()
    found = planner.one(client, source, [*router.keep, *linker.keep, *asked] if router else ())
    if router is None or bundle is None:
        console.print(plan_table(planner.policy, found.plan, explained(planner.policy, found.plan, found.last)))
        return
    route = router.one(found.table, bundle, concession)
    values = found.plan | route
    gates = of_profile(sold, bundle, {name: found.plan[name] for name in asked})
    for gate in sorted(gates, key=lambda gate: gate.status != "failed"):
        color = {"failed": "red", "open": "yellow", "passed": "dim"}[gate.status]
        console.print(f"[{color}]gate {gate.gate} {gate.status}: {escape(gate.why)}[/]", highlight=False)
    brings = [name.removeprefix("held__") for name in asked if name.startswith("held__") and not found.plan[name]]
    if bank is not None and (why := awaited_of(bank, sold, planner.as_of, client, brings)):
        console.print(f"[red]not to be offered again: {escape(why)}[/]", highlight=False)
    console.print(route_table(planner.policy, route, explained_route(planner.policy, values), sold.currency))
    room = linker.room(values)
    try:
        room = room.shared(quoted(router.book, values, planner.as_of).lines)
    except NoPriceSheetError as error:
        warnings.warn(str(error), stacklevel=2)
    console.print(room_table(planner.policy, room, explained_room(planner.policy, values, room), sold.currency))


def _asked_by_gates(planner: Any, sold: Any, source: Any, bundle: str) -> set[str]:
    """The columns of these profiles that the bundle's gates look at."""
    from sheaf.serving.engine.gates import asked_of
    from sheaf.strategy.policy.columns import of_file, parquet

    if isinstance(source, Path):
        there = {*of_file(planner.connection, parquet(planner.connection, source))}
    else:
        there = {name for part in source for name in part.column_names}
    return asked_of(sold, bundle) & there


def _show_package(planner: Any, sold: Any, bank: Any, client: str, bundle: str, wanted: dict[str, str]) -> None:
    import numpy as np
    import pyarrow as pa

    from sheaf.features import C, ProfileMatrix, profile_matrices, profile_tables
    from sheaf.features.columns.links import tied
    from sheaf.strategy import Linker, Router
    from sheaf.strategy.plans.packages import Members, Packager
    from sheaf.strategy.views.plans import package_table, room_table
    from sheaf.training import registry

    champion = registry.need_champion().model
    learned = registry.price_response(planner.as_of, champion)
    packager = Packager(champion, sold, None, learned.model if learned else None)
    members = Members.of(tied(bank, planner.as_of, client), wanted)
    if not members.client_ids:
        raise ValueError(f"client {client} has no {' and no '.join(wanted)} among the clients; leave --linked out")
    ids = [client, *members.client_ids]
    joined = ProfileMatrix.join(list(profile_matrices(bank, sold, planner.as_of, ids)))
    found = champion.align(joined, packager.candidates)
    at = {name: row for row, name in enumerate(found.client_ids)}
    values = found.values[[at[name] for name in ids]]
    package = packager.package(values[:1], bundle, values[1:], members.relation, members.bundle)
    console.print(package_table(package, members, bundle, sold.currency))
    offered = np.concatenate([package.joint.open, package.after.open])
    if not package.joint.open.all():
        raise ValueError(f"{bundle} may not be offered to client {client}, or brings nothing; offer another")
    offers = pa.table({
        C.CLIENT: ids, C.BUNDLE: [bundle, *members.bundle],
        C.CONCESSION: np.concatenate([package.joint.concession, package.after.concession]),
    }).filter(pa.array(offered))  # fmt: skip
    router, linker = Router(planner, sold), Linker(planner.policy, sold)
    tables = profile_tables(bank, sold, planner.as_of, offers[C.CLIENT].to_pylist())
    plans = pa.concat_tables(planner.plans(tables, [*router.keep, *linker.keep]))
    console.print(room_table(planner.policy, linker.package(router, plans, offers), (), sold.currency))
