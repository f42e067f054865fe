"""Every mistake in a catalog is named by file, line and key, with what to do, all at once and never as a traceback."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sheaf.catalog import DEFAULT, Catalog, CatalogError, read_catalog

GOOD = """\
currency: EUR
products:
  account:
    name: Account
    line: retail
    family: accounts
    kinds: [retail, corporate]
  card:
    name: Card
    line: retail
    family: cards
    kinds: [retail]
    where: {age: {min: 18}}
  loan:
    name: Loan
    line: corporate
    family: loans
    kinds: [corporate]
    where: {sector: [trade]}
bundles:
  starter:
    name: Starter
    products: [account, card]
policy:
  protected: [sex]
"""


def problems(path: Path) -> list[str]:
    """What is wrong with the catalog at `path`, with `path` itself cut off."""
    with pytest.raises(CatalogError) as caught:
        read_catalog(path)
    return [line.removeprefix(str(path)).lstrip("/") for line in str(caught.value).splitlines()]


@pytest.fixture
def changed(tmp_path: Path) -> Any:
    def problems_of(old: str, new: str, text: str = GOOD) -> list[str]:
        assert text.count(old) == 1, "the test changes one place"
        file = tmp_path / "bank.yaml"
        file.write_text(text.replace(old, new))
        return problems(file)

    return problems_of


def test_the_catalog_that_the_other_tests_break_is_good(tmp_path: Path) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(GOOD)
    assert [offer.bundle_id for offer in read_catalog(file).offers] == ["starter", "account", "card", "loan"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "    family: loans\n",
            "    family: loans\n    famly: x\n",
            ":18: products.loan.famly: is not a field of a product; did you mean family?",
            id="unknown field",
        ),
        pytest.param(
            "    family: loans\n",
            "    family: loans\n    colour: x\n",
            ":18: products.loan.colour: is not a field of a product; use one of name, line, family, kinds, where, "
            "alone, side, margin, annual_fee, balance, attributes, why",
            id="unknown field like no other",
        ),
        pytest.param(
            "    family: loans\n",
            "",
            ":14: products.loan.family: is missing; add it",
            id="missing field",
        ),
        pytest.param(
            "line: corporate",
            "line: corprate",
            ":16: products.loan.line: the text 'corprate' is not known; did you mean corporate?",
            id="unknown line",
        ),
        pytest.param(
            "kinds: [corporate]",
            "kinds: [corporate, martian]",
            ":18: products.loan.kinds[1]: the text 'martian' is not known; use one of retail, corporate, institution",
            id="unknown kind",
        ),
        pytest.param(
            "kinds: [corporate]",
            "kinds: []",
            ":18: products.loan.kinds: is empty; fill it in, or remove it where it is not needed",
            id="no kind",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    margin: 5.5\n",
            ":12: products.card.margin: 5.5 is not from -0.5 and below 1; write a fraction, 0.05 for five percent",
            id="percent instead of a fraction",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    margin: '0.02'\n",
            ":12: products.card.margin: the text '0.02' is not a number; "
            "write it without quotes or units, with a point for decimals",
            id="text for a number",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    annual_fee: .nan\n",
            ":12: products.card.annual_fee: nan is not a finite number; give its value",
            id="not a number",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    balance: .inf\n",
            ":12: products.card.balance: inf is not a finite number; give its value",
            id="infinite",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    balance: -5\n",
            ":12: products.card.balance: -5 is not at least 0; correct it",
            id="negative balance",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    attributes: {risk: high}\n",
            ":12: products.card.attributes.risk: the text 'high' is not a number; "
            "write it without quotes or units, with a point for decimals",
            id="attribute in words",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    alone: maybe\n",
            ":12: products.card.alone: the text 'maybe' is not true or false; write true or false",
            id="text for a flag",
        ),
        pytest.param(
            "    family: cards\n",
            "    family: cards\n    product_id: card\n",
            ":12: products.card.product_id: the key above is the id; remove this line",
            id="id given twice",
        ),
        pytest.param(
            "name: Loan",
            "name: 7",
            ":15: products.loan.name: 7 is not a text; if it is one, write it in quotes",
            id="number for a text",
        ),
        pytest.param(
            "  loan:",
            "  car loan:",
            ":14: products.car loan: the text 'car loan' has a space in it; use _",
            id="id with a space",
        ),
        pytest.param(
            "  loan:",
            "  77:",
            ":14: products.77: the key is not a text; write it in quotes",
            id="id that YAML reads as a number",
        ),
        pytest.param(
            "age: {min: 18}",
            "age: {min: 30, max: 20}",
            ":13: products.card.where.age: min 30 is above max 20, so nobody fits; swap them",
            id="min above max",
        ),
        pytest.param(
            "age: {min: 18}",
            "age: {}",
            ":13: products.card.where.age: has neither min nor max; give at least one, or remove the condition",
            id="no bounds",
        ),
        pytest.param(
            "age: {min: 18}",
            "age: {mim: 18, max: 20}",
            ":13: products.card.where.age.mim: is not a field of a range; did you mean min?",
            id="unknown bound",
        ),
        pytest.param(
            "age: {min: 18}",
            "age: 18",
            ":13: products.card.where.age: is not a condition; write {min: .., max: ..} for a number "
            "or [a, b] for texts",
            id="condition without a form",
        ),
        pytest.param(
            "sector: [trade]",
            "sector: [trade, 5]",
            ":19: products.loan.where.sector[1]: 5 is not a text; if it is one, write it in quotes",
            id="number among texts",
        ),
        pytest.param(
            "age: {min: 18}",
            "sex: [female]",
            ":13: products.card.where.sex: sex is protected by policy and may not decide who is offered what; "
            "remove the condition",
            id="protected attribute",
        ),
        pytest.param(
            "sector: [trade]",
            "age: [old]",
            ":19: products.loan.where.age: age is a text here and a number in products.card.where.age; make them agree",
            id="attribute used as a number and as a text",
        ),
        pytest.param(
            "[account, card]",
            "[acount, card]",
            ":23: bundles.starter.products[0]: there is no product acount; did you mean account?",
            id="unknown product",
        ),
        pytest.param(
            "[account, card]",
            "[account, xyz]",
            ":23: bundles.starter.products[1]: there is no product xyz; use one of account, card, loan",
            id="unknown product like no other",
        ),
        pytest.param(
            "[account, card]",
            "[account, account]",
            ":23: bundles.starter.products[1]: account is in the bundle twice; name it once",
            id="product twice",
        ),
        pytest.param(
            "[account, card]",
            "[]",
            ":23: bundles.starter.products: is empty; fill it in, or remove it where it is not needed",
            id="bundle of nothing",
        ),
        pytest.param(
            "[account, card]",
            "account",
            ":23: bundles.starter.products: the text 'account' is not a list; write [a, b]",
            id="text for a list",
        ),
        pytest.param(
            "  starter:",
            "  card:",
            ":21: bundles.card: is also the id of a product; rename the bundle, or let it hold card alone",
            id="bundle named like a product",
        ),
        pytest.param(
            "    products: [account, card]\n",
            "    products: [account, card]\n    kinds: [retail, corporate]\n",
            ":24: bundles.starter.kinds: card is not sold to corporate clients (only to retail); "
            "narrow the bundle's kinds, or widen the product's",
            id="kind that a product is not sold to",
        ),
        pytest.param(
            "[account, card]",
            "[card, loan]",
            ":23: bundles.starter.products: no kind of client may hold all of card (retail), loan (corporate); "
            "take some out",
            id="no kind in common",
        ),
        pytest.param(
            "    products: [account, card]\n",
            "    products: [account, card]\n    where: {age: {max: 10}}\n",
            ":24: bundles.starter.where: nobody meets it and the conditions of card on age at once; "
            "change one of them, or take card out",
            id="conditions that exclude each other",
        ),
        pytest.param(
            "protected: [sex]",
            "tiers: [{name: a, cumulative_share: 0.5}, {name: b, cumulative_share: 0.5}]",
            ":25: policy.tiers: the cumulative shares 0.5, 0.5 do not increase; "
            "list the tiers from the best to the broadest",
            id="tiers that do not increase",
        ),
        pytest.param(
            "protected: [sex]",
            "tiers: [{name: a, cumulative_share: 0.5}]",
            ":25: policy.tiers: the last cumulative share is not 1.0; end with the tier that takes everyone else",
            id="tiers that leave clients out",
        ),
        pytest.param(
            "protected: [sex]",
            "tiers: [{name: a, cumulative_share: 0.5}, {name: a, cumulative_share: 1}]",
            ":25: policy.tiers: two tiers have the same name; rename one",
            id="tiers of one name",
        ),
        pytest.param(
            "protected: [sex]",
            "performance: {prosperous: 0, loss_making: 0.1}",
            ":25: policy.performance: loss_making 0.1 is above prosperous 0; "
            "a firm is loss-making below the one and prosperous from the other on: swap them",
            id="segments that overlap",
        ),
        pytest.param(
            "protected: [sex]",
            "closeness: {lines: 1.5}",
            ":25: policy.closeness.lines: 1.5 is not a whole number; write it without quotes or units",
            id="part of a line",
        ),
        pytest.param(
            "policy:\n  protected: [sex]",
            "policy: 0",
            ":24: policy: not a mapping; write its fields below it, indented",
            id="policy without fields",
        ),
        pytest.param(
            "policy:",
            "polcy:",
            ":24: polcy: is not a part of a catalog; did you mean policy?",
            id="unknown part",
        ),
        pytest.param(
            "currency: EUR",
            "currency: Euro",
            ":1: currency: the text 'Euro' is not a currency; write its three capital letters",
            id="currency in words",
        ),
    ],
)
def test_a_mistake_is_named_with_line_key_and_remedy(changed: Any, old: str, new: str, message: str) -> None:
    assert changed(old, new) == [message]


def test_everything_wrong_is_named_at_once_in_the_order_of_the_lines(changed: Any) -> None:
    broken = GOOD.replace("line: corporate", "line: corprate").replace("[account, card]", "[acount, card]")
    assert changed("age: {min: 18}", "sex: [male]", broken) == [
        ":13: products.card.where.sex: sex is protected by policy and may not decide who is offered what; "
        "remove the condition",
        ":16: products.loan.line: the text 'corprate' is not known; did you mean corporate?",
        ":23: bundles.starter.products[0]: there is no product acount; did you mean account?",
    ]


@pytest.mark.parametrize("mistake", ["    line: corprate\n", "    line: [corporate]\n", ""])
def test_nothing_is_said_that_only_follows_from_another_mistake(changed: Any, mistake: str) -> None:
    """A bundle of a product that is itself wrong is not told that there is no such product."""
    broken = GOOD.replace("[account, card]", "[loan]")
    assert len(changed("    line: corporate\n", mistake, broken)) == 1


PRICED = """
products:
  account: {name: Account, line: retail, family: accounts, side: deposit, balance: 1000, margin: 0.01}
  card: {name: Card, line: retail, family: cards, annual_fee: 30}
  loan: {name: Loan, line: retail, family: loans, side: asset, balance: 5000, margin: 0.02}
bundles:
  starter: {name: Starter, products: [account, card]}
pricing:
  curves: {EUR: [{years: 0.1, rate: 0.02}, {years: 10, rate: 0.03}]}
  grades: {A: {pd: 0.01}}
  unrated: A
  products:
    account: {funding: [{share: 1, years: 1}]}
    card: {fee_floor: 20}
    loan: {funding: [{share: 1, years: 3}], credit: {asset_class: other_retail, lgd: 0.5}}
"""


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (("account: {funding:", "account: {fundng:"), "fundng"),
        (("  curves:", "  curve:"), "curve"),
        (("unrated: A", "unrated: 3"), "unrated"),
        (("grades: {A: {pd: 0.01}}", "grades: {A: {pd: 7}}"), "grades.A.pd"),
        (("  unrated: A\n", "  unrated: A\n  hurdle: 12\n"), "hurdle"),
        (("lgd: 0.5", "lgd: 50"), "lgd"),
    ],
)
def test_what_is_wrong_with_other_price_sheets_is_named_beside_a_mistake(
    tmp_path: Path, first: tuple[str, str], what: str
) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(PRICED)
    read_catalog(file)
    broken = PRICED.replace(*first).replace("    card: {fee_floor: 20}", "    crad: {fee_floor: 20}")
    file.write_text(broken)
    told = problems(file)
    assert [line for line in told if what in line]
    assert [line for line in told if "pricing.products.crad: there is no product crad" in line]
    assert not [line for line in told if "no funding" in line or "no curve for" in line or "is not a grade" in line]
    file.write_text(broken.replace("crad: {fee_floor", "crad: {fee_flor"))
    assert [line for line in problems(file) if "there is no product crad" in line]


def test_every_repeated_key_is_named_with_both_lines(changed: Any) -> None:
    assert changed("  loan:\n    name: Loan\n", "  card:\n    name: Loan\n    name: Loan\n") == [
        ":14: products.card: is already in line 8; keep one of the two",
    ]
    assert changed("name: Loan\n", "name: Loan\n    name: Credit\n    line: retail\n") == [
        ":16: products.loan.name: is already in line 15; keep one of the two",
        ":18: products.loan.line: is already in line 17; keep one of the two",
    ]


def test_a_bundle_of_one_cannot_sell_alone_what_is_not_sold_alone(changed: Any) -> None:
    broken = GOOD.replace("    family: cards\n", "    family: cards\n    alone: false\n")
    assert changed("[account, card]", "[card]", broken) == [
        ":24: bundles.starter.products: card is not sold alone; add another product, or remove its alone: false"
    ]


def test_a_list_as_a_key_is_named(changed: Any) -> None:
    assert changed("  starter:\n", "  [a, b]: x\n  starter:\n") == [
        ":21: bundles: a list or mapping cannot be a key; write a text"
    ]


def test_a_key_that_would_break_the_line_is_shown_with_escapes(changed: Any) -> None:
    assert changed("    family: loans\n", '    family: loans\n    "fam\\nily": x\n') == [
        r":18: products.loan.fam\nily: is not a field of a product; did you mean family?"
    ]


def test_a_product_without_fields_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text("products:\n  account:\n")
    assert problems(file) == [":2: products.account: not a mapping; write its fields below it, indented"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "currency: EUR\n", "products:\n", "products: {}\n"])
def test_a_catalog_without_products_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(text)
    assert [line.partition(" ")[2] for line in problems(file)] == ["products: there are none; add at least one product"]


def test_products_that_can_never_be_offered_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text("products:\n  card: {name: Card, line: retail, family: cards, alone: false}\n")
    assert problems(file) == [
        ":1: products: nothing can be offered, as no product is had alone; add a bundle, or remove alone: false"
    ]


def test_a_list_of_products_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text("name: Bank\nproducts:\n  - {name: Card}\n")
    assert problems(file) == [
        ":2: products: not a mapping; write each id with a colon, and its fields below it, indented"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("products:\n  card: {name: Card\n", 3),
        ("products:\n  card:\n\tname: Card\n", 3),
        ("products:\n  card: *nothing\n", 2),
        ("products:\n  card: !!python/name:os.system x\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
    ],
    ids=["open bracket", "tab", "alias of nothing", "unknown tag", "two documents"],
)
def test_what_is_not_yaml_is_named_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(text)
    (problem,) = problems(file)
    assert problem.startswith(f":{line}: not YAML, ")
    assert problem.endswith("; correct it here or just above")


@pytest.mark.parametrize(
    "content",
    [b"name: \xff\xfe\xfa", b"PAR1\x00\x01\x15", b"name: 2020-99-99", b"[" * 1000],
    ids=["not UTF-8", "binary", "impossible date", "endless nesting"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bank.yaml"
    file.write_bytes(content)
    (problem,) = problems(file)
    assert problem.startswith(": cannot be read, ")
    assert problem.endswith("; save it as plain UTF-8 YAML")


@pytest.mark.parametrize("text", ["just words\n", "- a\n- b\n", "7\n"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(text)
    assert problems(file) == [":1: not a mapping; begin with a key such as products:"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    assert problems(path) == [": there is no such file or folder; give a YAML file or a folder of them"]


def test_a_folder_without_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id\n")
    assert problems(tmp_path) == [": the folder holds no YAML file; add one that ends in .yaml"]


def test_an_id_in_two_files_is_named_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(
        "products:\n  card: {}\nbundles:\n  starter: {}\npolicy: {protected: []}\ncurrency: USD\n"
    )
    assert problems(tmp_path) == [
        "b.yaml:2: products.card: is also in a.yaml:8; keep one of the two",
        "b.yaml:4: bundles.starter: is also in a.yaml:21; keep one of the two",
        "b.yaml:5: policy.protected: is also in a.yaml:25; keep one of the two",
        "b.yaml:6: currency: is also in a.yaml:1; keep one of the two",
    ]


def test_a_file_that_is_not_yaml_does_not_make_the_others_wrong(tmp_path: Path) -> None:
    """Bundles are not told that their products are missing while the file of products cannot be read."""
    (tmp_path / "bundles.yaml").write_text("bundles:\n  pair: {name: Pair, products: [account, card], famly: x}\n")
    (tmp_path / "products.yaml").write_text("products: {{\n")
    first, second = problems(tmp_path)
    assert first == "bundles.yaml:2: bundles.pair.famly: is not a field of a bundle; " + (
        "use one of name, products, line, kinds, where, why"
    )
    assert second.startswith("products.yaml:2: not YAML, ")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["card", "min"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("min"), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(value=ANYTHING, seed=st.integers(0, 10**6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_value_in_any_place_is_read_or_named(tmp_path: Path, value: Any, seed: int) -> None:
    content: Any = {
        "name": "Bank",
        "currency": "EUR",
        "products": {
            "account": {"name": "Account", "line": "retail", "family": "accounts"},
            "card": {"name": "Card", "line": "retail", "family": "cards", "where": {"age": {"min": 18}}, "margin": 1},
        },
        "bundles": {"pair": {"name": "Pair", "products": ["account", "card"], "kinds": ["retail"]}},
        "policy": {"tiers": [{"name": "all", "cumulative_share": 1.0}], "closeness": {"lines": 2}},
        "pricing": {
            "curves": {"EUR": [{"years": 1.0, "rate": 0.02}]},
            "rates": {"USD": 0.9},
            "grades": {"A": {"pd": 0.01}},
            "unrated": "A",
            "authorities": [{"name": "all", "share": 1.0}],
            "products": {"card": {"opex": 5.0, "benefits": ["waive"], "draws_from": {"account": 0.1}}},
        },
    }
    chosen = random.Random(seed)
    holder: Any = content
    while True:  # walks down to some place, and puts the value there
        key = chosen.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if not isinstance(holder[key], dict | list) or not holder[key] or chosen.random() < 0.2:
            break
        holder = holder[key]
    holder[key] = value
    file = tmp_path / "bank.yaml"
    file.write_text(json.dumps(content).replace("NaN", ".nan").replace("Infinity", ".inf"))
    _read_or_named(file)


@given(at=st.integers(0, len(GOOD) - 1), instead=st.text(max_size=3), gone=st.integers(0, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_slip_of_the_pen_is_read_or_named(tmp_path: Path, at: int, instead: str, gone: int) -> None:
    file = tmp_path / "bank.yaml"
    file.write_text(GOOD[:at] + instead + GOOD[at + gone :], encoding="utf-8", errors="replace")
    _read_or_named(file)


def _read_or_named(file: Path) -> None:
    try:
        assert isinstance(read_catalog(file), Catalog)
    except CatalogError as error:
        for line in str(error).splitlines():
            assert re.match(rf"{re.escape(str(file))}(:\d+)?: .+(; .+|\?)$", line)


def test_the_default_folder_is_found_beside_the_code() -> None:
    assert sorted(file.name for file in DEFAULT.iterdir()) == [
        "bundles.yaml", "policy.yaml", "pricing.yaml", "products.yaml",
    ]  # fmt: skip
