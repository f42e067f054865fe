"""The price sheet: what a product costs and earns beyond its list price, and the bank's choices that pricing goes by.

A product's list price stands with the product itself (`margin`, `annual_fee`, `balance`); what is here says how it is
funded, how risky and how dear it is, how it is charged, and how far its price may be lowered.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Strict, StringConstraints, model_validator

from sheaf.catalog.schema import PERCENT, Flag, Id, Model, Name, NotNegative, Number, Rate, Share, Text, within

Part = Annotated[Number, AfterValidator(within(0.0, 1.0, PERCENT))]
Probability = Annotated[
    Number, AfterValidator(within(0.0, 1.0, "a probability of 0 or 1 has no price; write a fraction", open_low=True))
]
Default = Annotated[
    Number,
    AfterValidator(within(0.0003, 1.0, "write a fraction; 0.03 percent is the least that Basel II par. 285 allows")),
]
Term = Annotated[Number, AfterValidator(within(0.0, 100.0, "give the years that the contract runs", open_low=True))]
Positive = Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0)]
Fraction = Annotated[float, Strict(), Field(allow_inf_nan=False, ge=0, le=1)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
AssetClass = Literal["corporate", "residential_mortgage", "revolving_retail", "other_retail"]
Benefit = Literal["waive", "percent", "amount", "spread_percent", "spread_amount"]
EURO, MILLION = "EUR", 1e6
BENEFITS: tuple[Benefit, ...] = ("waive", "percent", "amount", "spread_amount", "spread_percent")


class Point(Model):
    """The price of funds for `years`, a fraction a year."""

    years: Positive
    rate: Rate


def _rising(points: tuple[Point, ...]) -> tuple[Point, ...]:
    for one, other in pairwise(points):
        if other.years <= one.years:
            raise ValueError(f"{other.years:g} years come after {one.years:g}; list the points by rising years, once")
    return points


Curve = Annotated[tuple[Point, ...], Field(min_length=1), AfterValidator(_rising)]


class Grade(Model):
    """Probability of default within a year, and what the grade adds to the list margin of a credit."""

    pd: Default
    margin: Rate = 0.0


class Slice(Model):
    """A share of the balance that is funded for `years`: a deposit has a core that stays and a part that may go."""

    share: Share
    years: Positive


def _whole(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    total = sum(part.share for part in slices)
    if slices and abs(total - 1) > 1e-9:
        raise ValueError(f"the shares add up to {total:g} and not to 1; correct one")
    return slices


class Credit(Model):
    """The risk of a loan or guarantee.

    - `lgd`: share that is lost in default.
    - `ccf`: credit conversion factor, the share of the undrawn limit that is drawn by default.
    - `limit`: typical limit, of which the typical balance is drawn.
    - `term_years`, `amortisation`: give maturity and average balance.
    - `revolving`: what is repaid is drawn again, so the balance stands all year whatever the term; if left out, true
      for `revolving_retail` only.
    """

    asset_class: AssetClass
    lgd: Annotated[float, Strict(), Field(allow_inf_nan=False, gt=0, le=1)]
    ccf: Fraction = 0.0
    limit: NotNegative = 0.0
    term_years: Term = 1.0
    amortisation: Literal["none", "linear", "annuity"] = "none"
    revolving: Annotated[Flag | None, Field(exclude_if=lambda it: it is None)] = None  # left out, versions stay

    @property
    def revolves(self) -> bool:
        return self.asset_class == "revolving_retail" if self.revolving is None else self.revolving

    @property
    def share_of_year(self) -> float:
        """How much of the first year it runs."""
        return 1.0 if self.revolves else min(self.term_years, 1.0)

    @model_validator(mode="after")
    def _repaid_or_drawn_again(self) -> Self:
        if self.revolving and self.amortisation != "none":
            raise ValueError(f"is revolving and repaid by amortisation {self.amortisation}; remove one of the two")
        return self


class Sheet(Model):
    """One product's price sheet; money in the catalog's currency, a year.

    - `currency`: currency of the balance, which selects the curve; if left out, the catalog's.
    - `unit_price`: fees beyond `fixed_fee` are charged by the unit: an item, or a unit of turnover (then the price is a
      spread). The product's `annual_fee` is then the price of its typical volume.
    - `cost_rate`: cost as a fraction of the balance.
    - `margin_floor`, `fee_floor`, `unit_floor`: lowest prices, in the units of the price.
    - `draws_from`: the share of a held product's balance that moves into this one.
    - `traditional`: a loan, discount, deposit or trust; if left out, every product with a balance.
    - `investment`: needs a suitability profile.
    - `cancellation`: the terms, in words.
    """

    currency: Currency | None = None
    funding: Annotated[tuple[Slice, ...], AfterValidator(_whole)] = ()
    credit: Credit | None = None
    opex: NotNegative = 0.0
    cost_rate: Part = 0.0
    fixed_fee: NotNegative | None = None
    unit_price: Positive | None = None
    unit_cost: NotNegative = 0.0
    unit: Name = "item"
    margin_floor: Rate | None = None
    fee_floor: NotNegative | None = None
    unit_floor: NotNegative | None = None
    benefits: tuple[Benefit, ...] = BENEFITS
    draws_from: Annotated[dict[Id, Share], Field(default_factory=dict)]
    traditional: Flag | None = None
    investment: Flag = False
    cancellation: Text = ""

    @model_validator(mode="after")
    def _units(self) -> Self:
        if self.unit_price is None:
            for name in ("unit_floor", "fixed_fee"):
                if getattr(self, name) is not None:
                    raise ValueError(f"has {name} and no unit_price; add the price, or remove {name}")
            if self.unit_cost:
                raise ValueError("has unit_cost and no unit_price; add the price, or write the cost into opex")
        elif self.unit_cost > self.unit_price:
            raise ValueError(
                f"unit_cost {self.unit_cost:g} is above the list price, unit_price {self.unit_price:g}, so every unit "
                f"loses money; set it between 0 and {self.unit_price:g}"
            )
        elif self.unit_floor is not None and self.unit_floor > self.unit_price:
            raise ValueError(
                f"unit_floor {self.unit_floor:g} is above the list price, unit_price {self.unit_price:g}; "
                f"set it between 0 and {self.unit_price:g}"
            )
        return self


class FeeCapital(Model):
    """Economic capital of what is no credit: `balance` of the balance plus `revenue` of margin and fees."""

    balance: Fraction = 0.0
    revenue: Fraction = 0.15  # the alpha of the basic indicator approach to operational risk, Basel II par. 649


class Authority(Model):
    """Whoever may grant concessions up to a `share` of the list price and, if given, an `amount` a year."""

    name: Name
    share: Share
    amount: NotNegative | None = None


def _widening(authorities: tuple[Authority, ...]) -> tuple[Authority, ...]:
    for lower, higher in pairwise(authorities):
        amounts = [float("inf") if one.amount is None else one.amount for one in (lower, higher)]
        if higher.share < lower.share or amounts[1] < amounts[0]:
            raise ValueError(f"{higher.name} may grant less than {lower.name} before; list who may grant least first")
    if len({one.name for one in authorities}) < len(authorities):
        raise ValueError("two authorities have the same name; rename one")
    return authorities


class Assumption(Model):
    """The price response assumed while there is none learned from the bank's own offers.

    `acceptance`: share that accepts at list price; `elasticity`: percent more of them for a price one percent lower.
    """

    acceptance: Probability = 0.15
    elasticity: Positive = 1.5


class Retention(Model):
    """`attrition`: assumed chance that a client leaves within a year; `saved`: share of it that acceptance prevents."""

    attrition: Part = 0.0
    saved: Fraction = 0.0


class Pricing(Model):
    """The inputs of pricing besides the products. Fractions are a year; money is in the reporting currency.

    - `curves`: funds-transfer curve by currency.
    - `rates`: reporting currency for one unit of another.
    - `unrated`: the grade of clients without a rating.
    - `turnover`: the clients' attribute with a firm's yearly sales.
    - `firm_sizes`: upper ends of bands of sales, in millions of euros from 5 to 50, for the firm-size adjustment of
      capital. A firm counts as its band's upper end; another reporting currency needs a rate for the euro.
    - `suitable_until`: the clients' attribute with the last day of a suitability profile.
    - `abroad`: the clients' attribute with 1 or true for a foreign client.
    """

    curves: Annotated[dict[Currency, Curve], Field(min_length=1)]
    rates: Annotated[dict[Currency, Positive], Field(default_factory=dict)]
    grades: Annotated[dict[Name, Grade], Field(min_length=1)]
    unrated: Name
    turnover: Id | None = None
    suitable_until: Id | None = None
    abroad: Id | None = None
    firm_sizes: tuple[Annotated[float, Strict(), Field(allow_inf_nan=False, ge=5, le=50)], ...] = ()
    tax: Part = 0.25
    hurdle: Part = 0.10
    return_on_capital: Part = 0.0
    fee_capital: FeeCapital = FeeCapital()
    max_concession: Share = 0.5
    authorities: Annotated[tuple[Authority, ...], Field(min_length=1), AfterValidator(_widening)] = (
        Authority(name="account_manager", share=0.1),
        Authority(name="branch", share=0.25),
        Authority(name="head_office", share=1.0),
    )
    response: Assumption = Assumption()
    retention: Retention = Retention()
    jurisdiction: Literal["EU", "US", "other"] = "EU"
    products: Annotated[dict[Id, Sheet], Field(default_factory=dict)]

    def sales_bounds(self, currency: str) -> tuple[float, ...]:
        """`firm_sizes` as money in the reporting `currency`, which is the euro or has a rate for it."""
        euro = 1.0 if currency == EURO or not self.firm_sizes else self.rates[EURO]
        return tuple(size * MILLION * euro for size in self.firm_sizes)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.unrated not in self.grades:
            raise ValueError(f"unrated {self.unrated} is not a grade; use one of {', '.join(self.grades)}")
        if any(later <= earlier for earlier, later in pairwise(self.firm_sizes)):
            raise ValueError("firm_sizes do not rise; list the upper ends from small to large")
        if self.firm_sizes and self.turnover is None:
            raise ValueError("has firm_sizes and no turnover; name the attribute that holds sales, or remove them")
        return self
