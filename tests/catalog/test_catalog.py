"""What can be offered from a catalog, to whom, and which changes make it another version."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from sheaf.catalog import (
    DEFAULT,
    Bundle,
    Catalog,
    Closeness,
    Exploration,
    Kind,
    Line,
    Performance,
    Policy,
    Product,
    Range,
    read_catalog,
)

DOCS = Path(__file__).parents[2] / "docs" / "guides" / "catalog.md"


@pytest.fixture(scope="module")
def default() -> Catalog:
    return read_catalog(DEFAULT)


def product(product_id: str, **fields: Any) -> Product:
    return Product.model_validate(
        {"product_id": product_id, "name": product_id, "line": "retail", "family": "f"} | fields
    )


def bundle(bundle_id: str, *products: str, **fields: Any) -> Bundle:
    given = {"bundle_id": bundle_id, "name": bundle_id, "products": products, "line": "retail", "kinds": list(Kind)}
    return Bundle.model_validate(given | fields)


def read(path: Path, text: str) -> Catalog:
    path.write_text(text)
    return read_catalog(path)


# --- the bank that comes with the project -----------------------------------------------------------------------


def test_the_default_bank_sells_over_all_lines_and_to_all_kinds(default: Catalog) -> None:
    assert {product.line for product in default.products} == set(Line)
    assert {kind for product in default.products for kind in product.kinds} == set(Kind)
    assert {bundle.line for bundle in default.bundles} == set(Line)
    for kind in Kind:
        assert sum(kind in bundle.kinds for bundle in default.bundles) >= 5


def test_most_default_bundles_cross_lines(default: Catalog) -> None:
    crossing = [one for one in default.bundles if len({default.product(key).line for key in one.products}) > 1]
    assert len(crossing) > len(default.bundles) / 2


def test_every_default_product_and_bundle_says_why(default: Catalog) -> None:
    for why in (*(one.why for one in default.products), *(one.why for one in default.bundles)):
        assert re.fullmatch(r"[A-Z].*\.", why)


def test_every_default_product_is_offered_and_has_the_same_attributes(default: Catalog) -> None:
    assert {key for offer in default.offers for key in offer.products} == {one.product_id for one in default.products}
    assert len({frozenset(one.attributes) for one in default.products}) == 1


def test_default_bundles_hold_two_to_five_products(default: Catalog) -> None:
    assert {len(one.products) for one in default.bundles} <= {2, 3, 4, 5}


def test_the_default_conditions_are_on_what_the_simulated_bank_knows(default: Catalog) -> None:
    sectors = {"agriculture", "construction", "education", "health", "manufacturing", "tourism"}
    sectors |= {"public", "services", "technology", "retail_trade", "transport"}
    for offer in default.offers:
        assert set(offer.where) <= {"age", "income", "employees", "turnover", "export_share", "sector"}
        assert set(offer.where.get("sector", ())) <= sectors


def test_a_snapshot_in_json_is_the_same_catalog(default: Catalog) -> None:
    again = Catalog.model_validate_json(default.model_dump_json())
    assert again == default
    assert again.version == default.version
    assert again.offers == default.offers


# --- offers -----------------------------------------------------------------------------------------------------


def test_without_bundles_every_product_is_its_own(tmp_path: Path) -> None:
    catalog = read(
        tmp_path / "bank.yaml",
        "products:\n"
        "  card: {name: Card, line: retail, family: cards, kinds: [retail], where: {age: {min: 18}}, why: Pays.}\n"
        "  loan: {name: Loan, line: corporate, family: loans}\n",
    )
    assert catalog.offers == (
        bundle("card", "card", name="Card", kinds=["retail"], where={"age": {"min": 18}}, why="Pays."),
        bundle("loan", "loan", name="Loan", line="corporate"),
    )


def test_a_bundle_takes_line_from_its_lead_and_kinds_from_all_its_products(tmp_path: Path) -> None:
    catalog = read(
        tmp_path / "bank.yaml",
        "products:\n"
        "  card: {name: Card, line: international, family: cards, kinds: [institution, retail]}\n"
        "  loan: {name: Loan, line: corporate, family: loans, kinds: [corporate, institution]}\n"
        "bundles: {pair: {name: Pair, products: [card, loan]}}\n",
    )
    (pair,) = catalog.bundles
    assert (pair.line, pair.kinds) == (Line.INTERNATIONAL, (Kind.INSTITUTION,))


def test_an_offer_has_the_conditions_of_all_its_parts() -> None:
    catalog = Catalog(
        products=(
            product("loan", where={"age": {"min": 18, "max": 65}, "sector": ["trade", "health"]}),
            product("fund", where={"age": {"min": 21}, "income": {"min": 1000}}),
        ),
        bundles=(bundle("pair", "loan", "fund", where={"age": {"max": 40}, "sector": ["health", "public"]}),),
    )
    assert catalog.offers[0].where == {
        "age": Range(min=21, max=40),
        "sector": ("health",),
        "income": Range(min=1000),
    }
    assert catalog.bundles[0].where["age"] == Range(max=40), "what was declared stays as declared"


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    ids = draw(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
    age = st.builds(Range, min=st.integers(0, 9), max=st.integers(10, 20))
    bounds = st.dictionaries(st.just("age"), age, max_size=1)
    products = [product(key, alone=draw(st.booleans()), where=draw(bounds)) for key in ids]
    alone = [one.product_id for one in products if one.alone]
    of_one = [[key] for key in draw(st.lists(st.sampled_from(alone), unique=True))] if alone else []
    of_more = (
        draw(st.lists(st.lists(st.sampled_from(ids), min_size=2, unique=True), max_size=4)) if len(ids) > 1 else []
    )
    bundles = [bundle(f"bundle_{i}", *keys, where=draw(bounds)) for i, keys in enumerate([*of_one, *of_more])]
    if not alone and not bundles:
        bundles = [] if len(ids) < 2 else [bundle("all", *ids)]
        products = products if bundles else [one.model_copy(update={"alone": True}) for one in products]
    return Catalog(products=tuple(products), bundles=tuple(bundles))


@given(catalogs())
def test_offers_are_the_declared_bundles_and_then_what_is_had_alone_and_not_declared(catalog: Catalog) -> None:
    offers = [(offer.bundle_id, offer.products) for offer in catalog.offers]
    declared = [(one.bundle_id, one.products) for one in catalog.bundles]
    assert offers[: len(declared)] == declared
    expected = {one.product_id for one in catalog.products if one.alone} - {
        one.products[0] for one in catalog.bundles if len(one.products) == 1
    }
    assert [key for key, _ in offers[len(declared) :]] == [
        one.product_id for one in catalog.products if one.product_id in expected
    ]
    assert len({key for key, _ in offers}) == len(offers)


@given(catalogs(), st.integers(-1, 21))
def test_who_meets_an_offer_meets_each_of_its_parts(catalog: Catalog, age: int) -> None:
    def met(one: Product | Bundle) -> bool:
        condition = one.where.get("age", Range(min=-1))
        assert isinstance(condition, Range)
        return (condition.min is None or age >= condition.min) and (condition.max is None or age <= condition.max)

    for declared, offer in zip(catalog.bundles, catalog.offers, strict=False):
        assert met(offer) == (met(declared) and all(met(catalog.product(key)) for key in offer.products))


def test_an_unknown_product_is_a_key_error(default: Catalog) -> None:
    with pytest.raises(KeyError, match="no_such"):
        default.product("no_such")


def test_contradictions_are_found_however_a_catalog_is_made() -> None:
    with pytest.raises(ValidationError, match=r"bundles.pair.products\[1\]: there is no product b; "):
        Catalog(products=(product("a"),), bundles=(bundle("pair", "a", "b"),))
    with pytest.raises(ValidationError, match=r"products.a: there are 2 of that id"):
        Catalog(products=(product("a"), product("a")))
    with pytest.raises(ValidationError, match=r"age is protected by policy"):
        Catalog(products=(product("a", where={"age": {"min": 1}}),), policy=Policy(protected=("age",)))


# --- reading and versions ---------------------------------------------------------------------------------------


def as_content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for file in path.iterdir():
        content |= YAML(typ="safe", pure=True).load(file)
    return content


def shuffled(value: Any, chosen: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chosen.shuffle(keys)
        return {key: shuffled(value[key], chosen) for key in keys}
    return value


@given(seed=st.integers(0, 10**6), flow=st.booleans(), width=st.integers(40, 200), comment=st.text("ab #:", max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
def test_the_version_does_not_depend_on_how_the_yaml_is_written(
    tmp_path: Path, default: Catalog, seed: int, flow: bool, width: int, comment: str
) -> None:
    file = tmp_path / "bank.yaml"
    yaml = YAML()
    yaml.default_flow_style, yaml.width = flow, width
    with file.open("w") as out:
        out.write(f"# {comment}\n")
        yaml.dump(shuffled(as_content(DEFAULT), random.Random(seed)), out)
    assert read_catalog(file).version == default.version


def leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [leaf for key, one in inner for leaf in leaves(one, (*at, key))] or [at]


def test_every_change_of_content_is_another_version() -> None:
    catalog = Catalog(
        products=(product("a", where={"age": {"min": 1}}, attributes={"risk": 0.5}), product("b", kinds=["retail"])),
        bundles=(bundle("pair", "a", "b", kinds=["retail"], where={"sector": ["trade"]}),),
    )
    content = catalog.model_dump(mode="json")
    versions = {catalog.version}
    tried = 0
    for at in leaves(content):
        changed = catalog.model_dump(mode="json")
        holder: Any = changed
        for key in at[:-1]:
            holder = holder[key]
        before = holder[at[-1]]
        others = [{"retail": "corporate"}.get(str(before), f"{before}x"), 0.9 if before == 1 else 0.25, not before, 7]
        for other in others:
            holder[at[-1]] = other
            try:
                version = Catalog.model_validate(changed).version
            except ValidationError:
                continue
            tried += 1
            assert version not in versions, at
            versions.add(version)
    assert tried > 40


def test_adding_a_product_is_another_version() -> None:
    one = Catalog(products=(product("a"),))
    assert re.fullmatch(r"[0-9a-f]{12}", one.version)
    assert Catalog(products=(product("a"), product("b"))).version != one.version


def test_kinds_and_texts_are_sets(tmp_path: Path) -> None:
    text = "products: {a: {name: A, line: retail, family: f, kinds: [KINDS], where: {sector: [SECTORS]}}}\n"
    one, other = (
        read(tmp_path / "bank.yaml", text.replace("KINDS", kinds).replace("SECTORS", sectors))
        for kinds, sectors in (("retail, corporate", "trade, health"), ("corporate, retail", "health, trade, health"))
    )
    assert one == other


def test_files_of_a_folder_add_to_the_same_sections(tmp_path: Path) -> None:
    fields = "line: retail, family: f"
    (tmp_path / "a.yaml").write_text(f"products: {{a: {{name: A, {fields}}}}}\npolicy: {{transfer_rate: 0.01}}\n")
    (tmp_path / "b.yml").write_text(f"products: {{b: {{name: B, {fields}}}}}\npolicy: {{protected: [sex]}}\n")
    (tmp_path / "notes.txt").write_text("not read")
    catalog = read_catalog(str(tmp_path))
    assert [one.product_id for one in catalog.products] == ["a", "b"], "in the order of the files"
    assert (catalog.policy.transfer_rate, catalog.policy.protected) == (0.01, ("sex",))


def test_an_empty_section_is_as_one_left_out(tmp_path: Path) -> None:
    text = "products: {a: {name: A, line: retail, family: f}}\n"
    assert read(tmp_path / "bank.yaml", text + "bundles:\npolicy:\n") == read(tmp_path / "bank.yaml", text)


def test_a_byte_order_mark_is_no_part_of_the_content(tmp_path: Path) -> None:
    text = "products: {a: {name: A, line: retail, family: f}}\n"
    assert read(tmp_path / "bank.yaml", "\ufeff" + text) == read(tmp_path / "bank.yaml", text)


def test_products_can_share_fields_through_a_yaml_anchor(tmp_path: Path) -> None:
    catalog = read(
        tmp_path / "bank.yaml",
        "products:\n  a: &card {name: A, line: retail, family: cards, annual_fee: 10}\n  b: {<<: *card, name: B}\n",
    )
    assert [(one.name, one.annual_fee) for one in catalog.products] == [("A", 10), ("B", 10)]


def test_no_is_a_text_and_not_false(tmp_path: Path) -> None:
    catalog = read(
        tmp_path / "bank.yaml",
        "products: {a: {name: no, line: retail, family: f, where: {country: [no, se]}}}\n",
    )
    assert catalog.products[0].where == {"country": ("no", "se")}


def test_the_guide_for_product_managers_shows_a_catalog_that_works(tmp_path: Path) -> None:
    example, addition, policy = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "products.yaml").write_text(example)
    (tmp_path / "bundles.yaml").write_text(addition)
    (tmp_path / "policy.yaml").write_text(policy)
    catalog = read_catalog(tmp_path)
    assert catalog.policy.exploration == Exploration(share=0.05, depth=8)
    assert catalog.policy.contact is not None
    assert [limit.channel for limit in catalog.policy.contact.limits] == ["app", None]
    assert [offer.bundle_id for offer in catalog.offers] == ["parents", "current_account", "family_cover"]
    assert catalog.offers[0].where == {"age": Range(min=18, max=45)}


@pytest.mark.parametrize("model", [Product, Bundle, Policy, Performance, Closeness])
def test_the_guide_explains_every_field(model: type[BaseModel]) -> None:
    guide = DOCS.read_text()
    assert [name for name in model.model_fields if f"`{name}`" not in guide and not name.endswith("_id")] == []
