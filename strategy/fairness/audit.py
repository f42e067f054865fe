"""Plans, offers and prices compared over groups of a protected attribute, which none of them may go by.

One row a client: outcomes of a group against those of all other clients, as they are and among clients of the same
worth (kind, and bands of EVA). A difference that vanishes among clients of the same worth is one of worth; one that
stays wants an explanation. Figures by group are fairlearn's, which has none against all others, nor strata of this many
at a bearable cost; intervals are at 95 %:

- as they are: shares by Agresti and Caffo (2000), means by Welch, ratios by the delta method on the log;
- within worth: strata weighted by n₁n₀/(n₁+n₀) (Cochran, 1954), with the pooled variance of each stratum.

What is told to look at is different within worth after Benjamini and Hochberg's (1995) correction over all comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from sheaf._extras import needs_extra
from sheaf.catalog import Catalog, Line
from sheaf.features import C
from sheaf.strategy.policy.conditions import Rule
from sheaf.strategy.policy.schema import Strategy

Verdict = Literal["look", "worth", "same", "few"]
LEAST = 30  # clients of a group, and of all others: fewer are not judged
LEVEL = 0.05
FOUR_FIFTHS = 0.8
"""A convention of the United States: a group's rate below four fifths of the highest group's is evidence of adverse
impact (EEOC, Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D)). It is no law of lending."""
GOES_WITH = 0.1  # association with the group, 0 to 1, from which a rule's column is named
BANDS, OF_A_BAND = 100, 50  # of worth at most, by kind; clients of a band at least
MOST_GROUPS = 6  # numbers with more values are cut into quarters
_Z = float(stats.norm.ppf(1 - LEVEL / 2))


@dataclass(frozen=True)
class Interval:
    """A figure and where it lies at 95 %; NaN where it cannot be told."""

    value: float
    low: float
    high: float


NONE = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Compared:
    """An outcome of a group against that of all other clients.

    `difference` and `ratio` are as they are, `within` the difference among clients of the same worth; `p` is of the
    latter, corrected for the number of comparisons. `below_four_fifths`: a share below 0.8 of the highest group's.
    """

    attribute: str
    group: str
    clients: int
    outcome: str
    share: bool
    mean: float
    others: float
    difference: Interval
    ratio: Interval
    within: Interval
    p: float
    below_four_fifths: bool
    verdict: Verdict


@dataclass(frozen=True)
class FairnessAudit:
    """What was compared; `columns` has, by attribute and group, those that the policy asks for and how closely each
    goes with the group, 0 to 1; `least` is how many clients a group needs to be judged."""

    compared: tuple[Compared, ...]
    columns: Mapping[tuple[str, str], Mapping[str, float]]
    least: int
    by_worth: bool

    def rows(self) -> list[dict[str, Any]]:
        """A row a comparison, for a table or CSV."""
        return [
            {
                "attribute": one.attribute,
                "group": one.group,
                "clients": one.clients,
                "outcome": one.outcome,
                "mean": one.mean,
                "others": one.others,
                **_spread("difference", one.difference),
                **_spread("ratio", one.ratio),
                **_spread("within_worth", one.within),
                "p": one.p,
                "below_four_fifths": one.below_four_fifths,
                "verdict": one.verdict,
            }
            for one in self.compared
        ]


def audit(
    clients: pd.DataFrame,
    outcomes: pd.DataFrame,
    protected: Sequence[str],
    asked: Sequence[str] = (),
    least: int = LEAST,
) -> FairnessAudit:
    """Compares `outcomes` (a column each, NaN where it does not apply) over the groups of each protected attribute.

    `clients` has a row for each row of outcomes: the attributes, `kind`, `eva` (worth; without it nothing is compared
    within worth) and the columns `asked` for by the policy. Numbers are cut into quarters; a client of whom
    an attribute is not known is left out.
    """
    found, columns = list[Compared](), dict[tuple[str, str], dict[str, float]]()
    strata = worth_bands(clients)
    shares = {name for name in outcomes if set(outcomes[name].dropna().unique()) <= {0.0, 1.0}}
    for attribute in protected:
        groups = grouped(clients[attribute])
        known = groups.notna().to_numpy()
        theirs, whose = outcomes[known], groups[known]
        within = None if strata is None else strata[known].to_numpy()
        names = sorted(whose.unique())
        if len(names) < 2:
            continue
        means, large = _by_group(theirs, whose), whose.value_counts().loc[lambda count: count >= least].index
        for group in names:
            member = (whose == group).to_numpy()
            one = _compare(attribute, group, member, theirs, within, shares, least, means, means.loc[large])
            found += one
            if any(compared.verdict != "few" for compared in one):
                columns[attribute, group] = {
                    name: goes_with(clients[name][known], member) for name in asked if name in clients
                }
    return FairnessAudit(_judged(found), columns, least, strata is not None)


def grouped(values: pd.Series) -> pd.Series:
    """Groups of an attribute as texts, null where it is not known; numbers of many values in quarters."""
    known = values.dropna()
    if pd.api.types.is_bool_dtype(known) or not pd.api.types.is_numeric_dtype(known) or known.nunique() <= MOST_GROUPS:
        return values.astype(object).where(values.notna(), None).map(lambda one: None if one is None else str(one))
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75]).round())
    names = [
        f"below {edges[0]:g}",
        *(f"{low:g} to below {high:g}" for low, high in pairwise(edges)),
    ]
    names.append(f"{edges[-1]:g} and above")
    at = np.searchsorted(edges, values.to_numpy(dtype=float, na_value=np.nan), side="right")
    return pd.Series(np.array(names, dtype=object)[np.minimum(at, len(names) - 1)], values.index).where(values.notna())


def worth_bands(clients: pd.DataFrame) -> pd.Series | None:
    """Strata of the same worth: kind, and bands of EVA with as many clients each; None without EVA."""
    if "eva" not in clients or clients["eva"].isna().all():
        return None
    eva = clients["eva"].fillna(0.0)
    kind = clients[C.KIND] if C.KIND in clients else pd.Series("", clients.index)
    rank = eva.groupby(kind).rank(method="average", pct=True)
    bands = (eva.groupby(kind).transform("size") // OF_A_BAND).clip(1, BANDS)
    band = np.minimum((rank * bands).astype(int), bands - 1)
    return kind.astype(str) + " " + band.astype(int).astype(str)


def goes_with(values: pd.Series, member: np.ndarray) -> float:
    """How closely a column goes with belonging to a group, from 0 to 1: the absolute correlation of numbers, Cramér's V
    of texts; what is not known is left out."""
    known = values.notna().to_numpy()
    of, member = values[known], member[known]
    if len(of) < 2 or of.nunique() < 2 or member.all() or not member.any():
        return 0.0
    if pd.api.types.is_numeric_dtype(of):
        return abs(float(stats.spearmanr(of.astype(float), member).statistic))
    return float(stats.contingency.association(pd.crosstab(of.astype(str), member).to_numpy(), method="cramer"))


def _compare(
    attribute: str,
    group: str,
    member: np.ndarray,
    outcomes: pd.DataFrame,
    strata: np.ndarray | None,
    shares: Container[str],
    least: int,
    by_group: pd.DataFrame,
    large: pd.DataFrame,
) -> list[Compared]:
    found = []
    for outcome in map(str, outcomes):
        values = outcomes[outcome].to_numpy(float)
        known = ~np.isnan(values)
        ours, others = values[known & member], values[known & ~member]
        mean, mean0 = float(by_group.loc[group, outcome]), _mean(others)
        about = (attribute, group, int(member.sum()), outcome, outcome in shares, mean, mean0)
        if min(len(ours), len(others)) < least:
            found.append(Compared(*about, NONE, NONE, NONE, math.nan, False, "few"))
            continue
        spread = (mean, float(ours.var(ddof=1)), len(ours), mean0, float(others.var(ddof=1)), len(others))
        how = _of_shares(mean, len(ours), mean0, len(others)) if outcome in shares else _of_means(*spread)
        within = how if strata is None else _within(values[known], member[known], strata[known])
        best = float(large[outcome].max())
        below = outcome in shares and best > 0 and mean / best < FOUR_FIFTHS
        verdict: Verdict = "few" if math.isnan(within.value) else "same"  # no stratum has both
        found.append(Compared(*about, how, _ratio(*spread), within, _p(within), below, verdict))
    return found


def _by_group(outcomes: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """(groups, outcomes): the means, by fairlearn."""
    with needs_extra("audit"):
        from fairlearn.metrics import MetricFrame  # takes a second

    nothing = np.zeros(len(outcomes))  # outcomes are no predictions of anything
    found: pd.DataFrame = MetricFrame(
        metrics={str(outcome): lambda y_true, y_pred, values: _mean(values) for outcome in outcomes},
        y_true=nothing, y_pred=nothing, sensitive_features=groups.to_numpy(str),
        sample_params={str(outcome): {"values": outcomes[outcome].to_numpy(float)} for outcome in outcomes},
    ).by_group  # fmt: skip
    return found


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _of_shares(share: float, n: float, share0: float, n0: float) -> Interval:
    """The difference of two shares; the interval by Agresti and Caffo, with one success and one failure added to
    each."""
    of, of0 = (share * n + 1) / (n + 2), (share0 * n0 + 1) / (n0 + 2)
    spread = _Z * math.sqrt(of * (1 - of) / (n + 2) + of0 * (1 - of0) / (n0 + 2))
    return Interval(share - share0, of - of0 - spread, of - of0 + spread)


def _of_means(mean: float, var: float, n: float, mean0: float, var0: float, n0: float) -> Interval:
    spread = _Z * math.sqrt(var / n + var0 / n0)
    return Interval(mean - mean0, mean - mean0 - spread, mean - mean0 + spread)


def _ratio(mean: float, var: float, n: float, mean0: float, var0: float, n0: float) -> Interval:
    """Of two means above 0, by the delta method on its logarithm."""
    if mean <= 0 or mean0 <= 0:
        return NONE
    spread = _Z * math.sqrt(var / (n * mean**2) + var0 / (n0 * mean0**2))
    return Interval(mean / mean0, mean / mean0 * math.exp(-spread), mean / mean0 * math.exp(spread))


def _within(values: np.ndarray, member: np.ndarray, strata: np.ndarray) -> Interval:
    """The difference among clients of the same stratum, over strata that have both."""
    _, at = np.unique(strata, return_inverse=True)
    size = int(at.max()) + 1
    n = np.stack([np.bincount(at[of], minlength=size) for of in (member, ~member)])
    sums = np.stack([np.bincount(at[of], values[of], size) for of in (member, ~member)])
    both = (n > 0).all(axis=0)
    if not both.any():
        return NONE
    count, mean = n.sum(axis=0), sums.sum(axis=0) / n.sum(axis=0)
    variance = np.bincount(at, (values - mean[at]) ** 2, size) / np.maximum(count - 1, 1)
    n, sums, variance = n[:, both], sums[:, both], variance[both]
    weight = n[0] * n[1] / n.sum(axis=0)
    difference = float((weight * (sums[0] / n[0] - sums[1] / n[1])).sum() / weight.sum())
    spread = _Z * math.sqrt(float((weight * variance).sum())) / float(weight.sum())
    return Interval(difference, difference - spread, difference + spread)


def _p(found: Interval) -> float:
    """Two-sided, of no difference, by the interval's width."""
    spread = (found.high - found.low) / (2 * _Z)
    middle = (found.high + found.low) / 2
    if spread == 0 or math.isnan(spread):
        return 1.0 if middle == 0 or math.isnan(middle) else 0.0
    return float(2 * stats.norm.sf(abs(middle) / spread))


def _judged(found: Sequence[Compared]) -> tuple[Compared, ...]:
    """With p corrected over all comparisons that are judged, and the verdict."""
    at = [place for place, one in enumerate(found) if one.verdict != "few" and not math.isnan(one.p)]
    told = list(found)
    if not at:
        return tuple(told)
    adjusted = stats.false_discovery_control([found[place].p for place in at], method="bh")
    raw = stats.false_discovery_control([_p(found[place].difference) for place in at], method="bh")
    for place, p, of_raw in zip(at, adjusted.tolist(), raw.tolist(), strict=True):
        verdict: Verdict = "look" if p < LEVEL else "worth" if of_raw < LEVEL else "same"
        told[place] = replace(found[place], p=p, verdict=verdict)
    return tuple(told)


def _spread(name: str, of: Interval) -> dict[str, float]:
    return {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}


def outcomes_of(
    plans: pd.DataFrame, catalog: Catalog, offers: pd.DataFrame | None = None, routes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The outcomes of each client, in the rows of `plans`: a share of each tier, `priority`, `visits a year`, whether
    it is offered something of each line; the mean acceptance; and the means over its offers of the concession (money a
    year), of the list price and of the days of the route, each less the mean of the same bundle over all clients.

    Raises ValueError for offers of a bundle that the catalog has not.
    """
    found = pd.DataFrame(index=plans.index)
    for tier in sorted(plans["tier"].dropna().unique()):
        found[f"tier {tier}"] = (plans["tier"] == tier).astype(float)
    found["priority"] = plans["priority"].astype(float)
    found["visits a year"] = (365.0 / plans["visit_days"].astype(float)).fillna(0.0)
    if offers is not None:
        lines = {offer.bundle_id: str(offer.line) for offer in catalog.offers}
        if unknown := sorted(set(offers[C.BUNDLE]) - lines.keys()):
            raise ValueError(f"there is no bundle {unknown[0]!r} in the catalog, which the offers have; name --catalog")
        line = offers[C.BUNDLE].map(lines)
        for name in Line:
            having = offers.loc[line == str(name), C.CLIENT]
            found[f"offered {name}"] = plans[C.CLIENT].isin(having).astype(float)
        by_client = plans[C.CLIENT].map
        if "acceptance" in offers:
            found["acceptance"] = by_client(offers.groupby(C.CLIENT)["acceptance"].mean())
        if C.CONCESSION in offers:
            found["concession, same bundle"] = by_client(_against_bundle(offers, C.CONCESSION))
    if routes is not None:
        found["list price, same bundle"] = plans[C.CLIENT].map(_against_bundle(routes, "list_price"))
        found["route days, same bundle"] = plans[C.CLIENT].map(_against_bundle(routes, "days"))
    return found


def _against_bundle(offers: pd.DataFrame, name: str) -> pd.Series:
    """By client, the mean over its offers of a column less its mean for the same bundle."""
    of = offers[name].astype(float)
    return (of - of.groupby(offers[C.BUNDLE]).transform("mean")).groupby(offers[C.CLIENT]).mean()


def sentences(found: FairnessAudit, policy: Strategy) -> list[str]:
    """What to look at, the surest first; last, what was not judged."""
    told = []
    for one in sorted((one for one in found.compared if one.verdict == "look"), key=lambda one: one.p):
        within = f"{_told(one, one.within.value)} ({_told(one, one.within.low)} to {_told(one, one.within.high)})"
        where = "among clients of the same worth the difference is" if found.by_worth else "the difference is"
        text = f"Look at {one.attribute} {one.group}, {one.outcome}: {_told(one, one.mean, False)} against "
        text += f"{_told(one, one.others, False)} of all others; {where} {within}, p {one.p:.2g} after correction."
        if one.below_four_fifths:
            text += " The share is below four fifths of the highest group's (US EEOC, 29 CFR 1607.4(D))."
        told.append(f"{text} {_why(one, found, policy)}")
    if worth := [one for one in found.compared if one.verdict == "worth"]:
        what = "; ".join(f"{one.attribute} {one.group}, {one.outcome}" for one in worth)
        told.append(f"Differences of worth, which vanish among clients of the same: {what}.")
    few = {(one.attribute, one.group): one.clients for one in found.compared if one.verdict == "few"}
    judged = {(one.attribute, one.group) for one in found.compared if one.verdict != "few"}
    if small := [f"{attribute} {group} ({count})" for (attribute, group), count in few.items()
                 if (attribute, group) not in judged]:  # fmt: skip
        told.append(f"Not judged, as fewer than {found.least} clients, or all but so few: {', '.join(small)}.")
    if not any(one.verdict == "look" for one in found.compared):
        told.insert(0, "No outcome differs beyond chance among clients of the same worth." if found.by_worth
                    else "No outcome differs beyond chance.")  # fmt: skip
    return told


def _why(one: Compared, found: FairnessAudit, policy: Strategy) -> str:
    """Which columns of the rules behind an outcome go with the group."""
    part, columns = _part(one.outcome, policy)
    if part is None:
        return "It follows from the model and the catalog: look at what the model was trained on."
    near = found.columns.get((one.attribute, one.group), {})
    close = sorted(((near.get(name, 0.0), name) for name in columns), reverse=True)
    named = [f"{name} ({degree:.2f})" for degree, name in close if degree >= GOES_WITH]
    if not named:
        return f"No column of {part} goes with the group by {GOES_WITH} or more: look at who is in it."
    return f"Of what {part} looks at, these go with the group (0 to 1): {', '.join(named)}."


def _part(outcome: str, policy: Strategy) -> tuple[str | None, set[str]]:
    """The part of the policy that decides an outcome, and the columns it looks at."""
    stages = {stage.name: stage for stage in policy.following}
    scales = policy.tiers.scales
    if outcome.startswith("tier "):
        return "tiers", {name for one in scales for name in (*one.when, *one.figure)}
    if outcome == "priority":
        return "priority", _columns(stages["priority"].rules)
    if outcome == "visits a year":
        return "service.visits", _columns(stages["visit"].rules)
    if outcome.startswith("route days"):
        return "routes", policy.asks_of_pairs
    return None, set()


def _columns(rules: Sequence[Rule[Any]]) -> set[str]:
    return {column for rule in rules for column in rule.when}


def _told(one: Compared, value: float, signed: bool = True) -> str:
    sign = "+" if signed else ""
    return f"{value * 100:{sign}.1f} {'points' if signed else '%'}" if one.share else f"{value:{sign},.3g}"
