"""What a bundle has to pass before a client may have it: the same for offers, quotes and approvals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from sheaf.catalog import Bundle, Catalog, Kind
from sheaf.catalog.messages import wanted
from sheaf.features import UNSEEN, C, ProfileMatrix
from sheaf.pricing import Client
from sheaf.pricing.rules import ELIGIBLE, SUITABILITY, RuleCheck
from sheaf.pricing.rules import checks as rules
from sheaf.serving.schemas.plans import Gate
from sheaf.training.candidates.pairs import Encoding, Gates

_WHY_POLICY = {
    "failed": "the bundle is no candidate for the client",
    "open": "the model's would tell what is not told to you",
    "passed": "no model gives one for the client and the bundle",
}


def noted(gates: Sequence[Gate], acceptance_by: str) -> Iterator[str]:
    """What a quote has to say first: gates that failed, and an acceptance that is not the client's own."""
    for gate in gates:
        if gate.status == "failed":
            yield f"gate {gate.gate} failed: {gate.why}"
    if acceptance_by == "policy":
        why = _WHY_POLICY[gates[0].status]
        yield f"acceptance at list price is the policy's assumption, not the model's: {why}"


def eligible(
    offer: Bundle,
    known: Encoding | ProfileMatrix,
    values: np.ndarray | None = None,
    hidden: Callable[[str], bool] = lambda column: False,
) -> Gate:
    """The gate of kinds and conditions, for a client whose row `values` (1, columns of `known`) are, with what they
    hold now; without `values`, as whoever passes it is told. A `hidden` column is not looked at: it leaves the gate
    open, whatever it holds."""
    told, failed, untold = [f"for {' and '.join(offer.kinds)} clients"], [], False
    for name, condition in offer.where.items():
        says = f"{name} {wanted(condition)}"
        if name not in known.columns:
            told.append(f"{says} (not known of any client)")
        elif values is None:
            told.append(says)
        elif hidden(name):
            untold = True
            told.append(f"{says} (not told to you)")
        else:
            now = _now(known, values, name)
            alone = offer.model_copy(update={"where": {name: condition}})
            if Gates([alone], known).open(values[:, : len(known.columns)])[0, 0]:
                told.append(f"{says} ({now})")
            else:
                failed.append(f"{name} {now}, and has to be {wanted(condition)}")
    if failed:
        return Gate("eligible", "failed", "; ".join(failed))
    return Gate("eligible", "open" if untold else "passed", "; ".join(told))


def _now(known: Encoding | ProfileMatrix, values: np.ndarray, name: str) -> str:
    value, texts = values[0, list(known.columns).index(name)], known.categories.get(name)
    if np.isnan(value):
        return "is not known"
    if texts is None:
        return f"is {value:.7g}"
    text = texts[int(value)]
    return "is a text that the model has not seen" if text == UNSEEN else f"is {text}"


def as_rated(known: Encoding | ProfileMatrix, values: np.ndarray, rating: str | None) -> np.ndarray:
    """The client's row as if it had the rating; as it is where none is given."""
    if rating is None or C.RATING not in known.columns:
        return values
    texts, supposed = known.categories[C.RATING], values.copy()
    if isinstance(known, ProfileMatrix) and rating not in texts:
        known.categories[C.RATING].append(rating)
    supposed[0, list(known.columns).index(C.RATING)] = texts.index(rating if rating in texts else UNSEEN)
    return supposed


def applicable(brings: int, size: int) -> Gate:
    """The gate of what the client holds, for a bundle of `size` products that brings some."""
    return Gate("applicable", "passed", f"brings {brings} of its {size} products, which the client does not hold")


def suitable(need: bool) -> Gate:
    """The gate of suitability, where no more of the client is known than that a rule does not forbid the bundle."""
    if need:
        return Gate("suitable", "open", "needs a suitability profile that has not ended; see to it before the sale")
    return Gate("suitable", "passed", "no rule of the catalog asks for a suitability profile")


def lapsed(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """The same for a client whose suitability profile has ended."""
    ended = Gate("suitable", "failed", "the suitability profile has ended; renew it")
    return tuple(ended if (gate.gate, gate.status) == ("suitable", "open") else gate for gate in gates)


def row_of(values: Mapping[str, float | str | None]) -> ProfileMatrix:
    """A client by column, as a profile of one row."""
    texts = {name: [value] for name, value in values.items() if isinstance(value, str)}
    numbers = [0.0 if name in texts else np.nan if value is None else float(value) for name, value in values.items()]
    return ProfileMatrix(np.array([""]), [*values], texts, np.array([numbers], dtype=np.float32))


def asked_of(catalog: Catalog, bundle_id: str) -> set[str]:
    """The columns of profiles that the gates of a bundle look at; none of a bundle that there is not."""
    offers = [offer for offer in catalog.offers if offer.bundle_id == bundle_id]
    conditions = {name for offer in offers for name in offer.where}
    held = {f"held__{product}" for offer in offers for product in offer.products}
    ended = f"{catalog.pricing.suitable_until}_months" if catalog.pricing else ""
    return conditions | held | {ended}


def of_profile(catalog: Catalog, bundle_id: str, values: Mapping[str, float | str | None]) -> tuple[Gate, ...]:
    """The gates of a bundle for a client of whom the columns `asked_of` it are known, as a profile has them."""
    offer = next(one for one in catalog.offers if one.bundle_id == bundle_id)
    row = row_of({name: value for name, value in values.items() if name in offer.where})
    brings = sum(not values.get(f"held__{product}") for product in offer.products)
    checks: list[RuleCheck] = []
    if catalog.pricing and all(product in catalog.pricing.products for product in offer.products):
        parts = [catalog.product(product) for product in offer.products]
        anybody = Client("", Kind(offer.kinds[0]))
        checks = rules(offer, parts, catalog.pricing, anybody, False, dt.date.max)
    gates = judged(eligible(offer, row, row.values), brings, len(offer.products), checks)
    ended = values.get(f"{catalog.pricing.suitable_until}_months") if catalog.pricing else None
    return lapsed(gates) if isinstance(ended, int | float) and ended > 0 else gates


def judged(of: Gate, brings: int, size: int, checks: Iterable[RuleCheck]) -> tuple[Gate, ...]:
    """All gates: that of kinds and conditions is given, the others go by what is held and by the rules' `checks`.

    A condition that a check says is broken is not met: it looks at the bank's own text, where the model has another.
    """
    found = list(checks)
    broken = [check.text for check in found if (check.rule, check.status) == (ELIGIBLE, "broken")]
    if broken and of.status != "failed":
        of = Gate("eligible", "failed", "; ".join(broken))
    suits = suitable(False)
    for check in found:
        if check.rule == SUITABILITY:
            status = {"kept": "passed", "broken": "failed", "open": "open"}[check.status]
            suits = Gate("suitable", status, check.text)  # type: ignore[arg-type]
    return of, applicable(brings, size), suits
