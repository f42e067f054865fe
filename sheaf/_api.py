"""The functions of `import sheaf`: each a short way through the rooms, for notebooks and scripts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sheaf.catalog import Catalog
from sheaf.features import Bank

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    from sheaf.features.validation.check import Finding
    from sheaf.serving import Answer, Recommender
    from sheaf.serving.schemas.quotes import Quoted
    from sheaf.training import Evaluation, Model, Parameters

Objective = Literal["relevance", "value"]


def check(bank: Bank | Path | str, catalog: Catalog) -> list[Finding]:
    """What is wrong with a bank's tables: every problem at once, before any work starts.

    Parameters
    ----------
    bank
        A bank, or the folder with its tables.
    catalog
        What the bank sells; its products and conditions are compared with the tables.

    Returns
    -------
    list of Finding
        Each with table, column, problem, number of rows, first keys and remedy. Empty where nothing is wrong.

    Raises
    ------
    TableError
        Where a frame of the bank has values of several types in a column.

    Examples
    --------
    >>> sheaf.check(bank, catalog)
    []
    """
    from sheaf.features.validation import check as checks

    return checks.check_bank(bank, catalog) if isinstance(bank, Bank) else checks.check(bank, catalog)


def profile(bank: Bank, catalog: Catalog, as_of: dt.date, cohort: IntoFrame | Sequence[str] | None = None) -> Any:
    """The profiles of a day: one row a client, with nothing that became known later.

    Parameters
    ----------
    bank, catalog
        The bank's tables, and what it sells.
    as_of
        The day. Rows of the tables dated after it do not count.
    cohort
        Client ids, or a frame with `client_id` and `as_of`. Default: every client who is active on the day.

    Returns
    -------
    frame, (clients, 1 + features)
        `client_id` and the columns of the feature dictionary, ids ascending; in the library of the bank's frames
        (pandas, Polars or PyArrow), and in pandas where the bank lies in files.

    Raises
    ------
    TableError
        Where a client has several rows of its latest day, or a chosen client is not active.

    Examples
    --------
    >>> profiles = sheaf.profile(bank, catalog, dt.date(2025, 11, 30))
    >>> "products_held" in profiles.columns
    True
    """
    from sheaf.features import profile_tables

    tables = list(profile_tables(bank, catalog, as_of, cohort))
    return _native(tables, bank)


def train(
    bank: Bank,
    catalog: Catalog,
    as_of: Sequence[dt.date] = (),
    horizon_days: int = 31,
    parameters: Parameters | None = None,
) -> Model:
    """A model that ranks bundles, trained on what clients opened after some days.

    Nothing is logged or registered: `sheaf train` does that, with a backtest and a contest with the champion. The
    clients of the share `parameters.holdout_share` are left out, for `evaluate`.

    Parameters
    ----------
    bank, catalog
        The bank's tables, and what it sells.
    as_of
        The days to learn from. Default: the last month-ends whose horizons have ended.
    horizon_days
        Opened within so many days after a day counts.
    parameters
        Training parameters. Default: the product's.

    Returns
    -------
    Model
        `rank` and `recommend` take it; `model.save(folder)` keeps it.

    Raises
    ------
    SampleError
        Where there is nothing to learn from; the message says what is missing.

    Examples
    --------
    >>> quick = sheaf.Parameters(rounds=20, choice_rounds=0, ranking_rounds=0)
    >>> model = sheaf.train(bank, catalog, [dt.date(2025, 9, 30), dt.date(2025, 10, 31)], parameters=quick)
    >>> model.about["as_of"]
    ['2025-09-30', '2025-10-31']
    """
    from sheaf.training import Parameters, default_days, read_sample
    from sheaf.training.pipeline import fit_but_for_validation

    days = list(as_of) or default_days(bank, horizon_days)
    sample = read_sample(bank, catalog, days, horizon_days)
    return fit_but_for_validation(sample, catalog, parameters or Parameters())


def evaluate(model: Model, bank: Bank, catalog: Catalog, as_of: dt.date) -> Evaluation:
    """How good a model is on the validation clients, who are in no training, by what they opened after a day.

    Parameters
    ----------
    model
        As `train` returns it.
    bank, catalog
        The bank's tables, and what it sells.
    as_of
        The day: after those that the model learned from, with a whole horizon known after it.

    Returns
    -------
    Evaluation
        `figures` by name (NDCG@5, MAP@7, recall, calibration errors; in total, by line, by kind of client), their 95 %
        `intervals`, and `calibration` tables.

    Raises
    ------
    SampleError
        Where the tables end before the horizon does.

    Examples
    --------
    >>> found = sheaf.evaluate(model, bank, catalog, dt.date(2025, 11, 30))
    >>> 0 < found.figures["product_map_at_7"] <= 1
    True
    """
    from sheaf.training import Parameters, read_sample
    from sheaf.training import evaluate as evaluation
    from sheaf.training.samples import held_out

    [day] = read_sample(bank, catalog, [as_of], model.about["horizon_days"]).days
    share = float(model.about.get("holdout_share", Parameters().holdout_share))
    return evaluation(model, day.where(held_out(day.profiles.client_ids, share)), catalog)


def rank(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    as_of: dt.date,
    top: int | None = None,
    objective: Objective = "relevance",
    authority: str | None = None,
) -> Any:
    """Every client's bundles, best first.

    Parameters
    ----------
    model
        As `train` returns it.
    bank, catalog
        The bank's tables, and what it sells.
    as_of
        The day whose active clients are ranked.
    top
        The best so many a client. Default: every candidate.
    objective
        `relevance`: by what the client opens next. `value`: by acceptance times EVA, at the best concession.
    authority
        By value: who prices, of the catalog's authorities. Default: who may grant least.

    Returns
    -------
    frame
        `client_id`, `rank`, `bundle_id`, `score`, `probability` (of all its products within the horizon); by value also
        `concession` and `eva` (a year, in the reporting currency) and `acceptance`. In the library of the bank's
        frames, as `profile` gives it.

    Raises
    ------
    ValueError
        Where no client is active on the day, or by value where the catalog has no price sheet.

    Examples
    --------
    >>> ranking = sheaf.rank(model, bank, catalog, dt.date(2025, 11, 30), top=3)
    >>> list(ranking.columns)
    ['client_id', 'rank', 'bundle_id', 'score', 'probability']
    >>> int(ranking["rank"].max())
    3
    """
    from sheaf.training.batch_ranking import ranked_tables
    from sheaf.training.value_order import Aim

    blocks = ranked_tables(model, bank, catalog, as_of, top, aim=Aim(objective), authority=authority)
    return _native([table for table, _ in blocks], bank)


def recommender(
    model: Model, bank: Bank, catalog: Catalog, as_of: dt.date, client_id: str | None = None
) -> Recommender:
    """The object behind the service, over the profiles of a day.

    Parameters
    ----------
    model, bank, catalog
        As `rank` takes them.
    as_of
        The day of the profiles.
    client_id
        Only this client's profile is built, which takes a second. Default: all clients.

    Returns
    -------
    Recommender
        Its `recommend`, `quote` and `approval` are what the service answers with.

    Raises
    ------
    ValueError
        Where the client is not active on the day.

    Examples
    --------
    >>> service = sheaf.recommender(model, bank, catalog, dt.date(2025, 11, 30))
    >>> service.recommend(client_id, k=1).offers[0].rank
    1
    """
    from sheaf.serving.runtime.preparation import recommender_of

    return recommender_of(model, bank, catalog, as_of, client_id)


def recommend(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    client_id: str,
    as_of: dt.date,
    top: int = 5,
    objective: Objective = "relevance",
) -> Answer:
    """The best bundles for one client, with prices and reasons, as `sheaf recommend` shows them.

    Parameters
    ----------
    model, bank, catalog
        As `rank` takes them.
    client_id
        The client.
    as_of
        The day of the profile.
    top
        How many offers, at most.
    objective
        As in `rank`.

    Returns
    -------
    Answer
        `offers`, each with its products, probability, gates, price and reasons.

    Raises
    ------
    ValueError
        Where the client is not active on the day.

    Examples
    --------
    >>> answer = sheaf.recommend(model, bank, catalog, client_id, dt.date(2025, 11, 30), top=2)
    >>> [offer.rank for offer in answer.offers]
    [1, 2]
    """
    from sheaf.serving.runtime.preparation import accepted_by
    from sheaf.training.value_order import Aim

    found = recommender(model, bank, catalog, as_of, client_id)
    accepted = accepted_by(client_id, bank, catalog, as_of)
    return found.recommend(client_id, top, objective=Aim(objective), accepted=accepted)


def quote(
    model: Model,
    bank: Bank,
    catalog: Catalog,
    client_id: str,
    bundle_id: str,
    as_of: dt.date,
    authority: str | None = None,
    concession: float | None = None,
    terms: Mapping[str, float | str] | None = None,
) -> Quoted:
    """A bundle priced for one client as a whole relationship, as the service quotes it.

    Parameters
    ----------
    model, bank, catalog
        As `rank` takes them.
    client_id, bundle_id
        The client, and a bundle or product of the catalog.
    as_of
        The day of the profile.
    authority
        Who asks, of the catalog's authorities. Default: who may grant least.
    concession
        What the client saves, a year in the reporting currency. Default: the best within the authority.
    terms
        Terms other than the catalog's, such as `{"personal_loan.rate": 0.065}`: a what-if.

    Returns
    -------
    Quoted
        `lines`, one a component; `total`, `raroc`; `concession`, and `limit`, which the authority may grant (a year).

    Raises
    ------
    ValueError
        Where the client is not active on the day, the bundle is unknown, or a term is.

    Examples
    --------
    >>> quoted = sheaf.quote(model, bank, catalog, client_id, bundle_id, dt.date(2025, 11, 30))
    >>> 0 <= quoted.concession <= quoted.limit
    True
    """
    from sheaf.serving.schemas.requests import AskQuote

    asked = AskQuote(
        client_id=client_id, bundle_id=bundle_id, authority=authority, concession=concession, terms=dict(terms or {})
    )
    return recommender(model, bank, catalog, as_of, client_id).quote(asked)[0]


def _native(tables: Any, bank: Bank) -> Any:
    """The tables as one frame, in the library of the bank's own frames."""
    import narwhals as nw
    import pyarrow as pa

    engine, table = bank["clients"].implementation, pa.concat_tables(tables)
    if engine not in (nw.Implementation.POLARS, nw.Implementation.PYARROW):
        engine = nw.Implementation.PANDAS
    return nw.from_arrow(table, backend=engine).to_native()
