"""Every mistake in a policy is named by file, line and key, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sheaf.catalog import Policy
from sheaf.strategy import DEFAULT, StrategyError, read_strategy
from tests.strategy.banks import CATALOG, POLICY, changed, plan, profiles

TEXT = DEFAULT.read_text(encoding="utf-8")


def problems(path: Path, **more: Any) -> list[str]:
    with pytest.raises(StrategyError) as caught:
        read_strategy(path, CATALOG, **more)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


CORE = "{tier: core, at_least: 10000, below: 50000, margin: 1000}"
FIRST = "{name: key client of a favoured industry, when: {tier: [key], industry: [favoured]}, then: 1}"
SMALL = "then: {priority: 3, papers: full, signs: branch, signature: single, days: 5}"


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        pytest.param(CORE, CORE.replace("50000", "60000"), "tiers.scales[1].steps[1]",
                     "core and key overlap; set its below to 50,000", id="overlap"),
        pytest.param(CORE, CORE.replace("50000", "40000"), "tiers.scales[1].steps[1]",
                     "nobody has a tier from 40,000 to 50,000, a gap; set its below to 50,000", id="gap"),
        pytest.param("{tier: standard, below: 20000}", "{tier: standard, at_least: 0, below: 20000}",
                     "tiers.scales[0].steps[2]", "leaves a gap below 0; remove at_least of the last tier", id="end"),
        pytest.param("at_least: 50000, margin: 5000", "at_least: 50000, margin: 39500", "tiers.scales[1].steps[1]",
                     "the margins around 10,000 and 50,000 overlap, or the thresholds do not go down; make them ",
                     id="margins"),
        pytest.param("figure: {group_eva: 1.0}", "figure: {group_eva: 0.7, eva: 0.2}", "tiers.scales[0].figure",
                     "the weights add up to 0.9 and not to 1; correct one", id="weights"),
        pytest.param(CORE, CORE.replace("core", "cor"), "tiers.scales[1].steps[1]",
                     "there is no tier cor; did you mean core?", id="tier"),
        pytest.param(SMALL, SMALL.replace("branch", "brunch"), "routes.rules[6].then.signs",
                     "nobody may sign: there is no authority brunch in the catalog; did you mean branch?", id="nobody"),
        pytest.param("committees: [branch, head_office]", "committees: [head_office]", "routes.rules[7].then.signature",
                     "nobody may sign: branch has no committee; add it to routes.committees, or write single",
                     id="committee"),
        pytest.param("then: [phone, mobile, desk]", "then: [phone, telex, desk]", "service.channels.rules[6].then",
                     "there is no channel telex; use one of desk, phone, mobile, web, host_to_host", id="channel"),
        pytest.param("then: [phone, mobile, desk]", "then: [phone, desk, phone]", "service.channels.rules[6].then",
                     "phone is named twice; name it once", id="channel twice"),
        pytest.param("key firm or institution, when: {tier: [key], type: [corporate, institution]}, then: dedicated",
                     "key firm or institution, when: {tier: [key], type: [corporate, institution]}, then: own",
                     "service.managers.rules[1].then",
                     "there is no grade own; use one of team, dedicated, senior, ordinary", id="grade"),
        pytest.param('limit_use: ">= 0.9"', 'limit_used: ">= 0.9"', "service.visits[0].when.limit_used",
                     "limit_used is not a column of profiles; did you mean limit_use?", id="column"),
        pytest.param("held__cash_management: true", "held__cash_managment: true",
                     "service.channels.rules[0].when.held__cash_managment",
                     "held__cash_managment is not a column of profiles; did you mean held__cash_management?",
                     id="product of a column"),
        pytest.param('limit_use: ">= 0.9"', 'zodiac: ">= 0.9"', "service.visits[0].when.zodiac",
                     "zodiac is not a column of profiles; docs/reference/features.md has them, and a bank's own come",
                     id="unheard of"),
        pytest.param("products: [mortgage]", "products: [mortage]", "routes.sub_authorities[1].products[0]",
                     "there is no product mortage; did you mean mortgage?", id="product"),
        pytest.param("when: {rating: [E]}, then: false", 'when: {sex: ["female"]}, then: false',
                     "service.green_channel[0].when.sex",
                     "sex is protected by policy and may not decide how a client is served; remove the condition",
                     id="protected"),
        pytest.param("when: {rating: [E]}, then: false", "when: {rating: [Z]}, then: false",
                     "service.green_channel[0].when.rating", "rating is never Z; use one of A, B, C, D, E", id="text"),
        pytest.param(FIRST, FIRST.replace("tier: [key]", "manager: [team]"), "priority[0].when.manager",
                     "manager cannot be asked for here: it is told later, or is no single value; ", id="later"),
        pytest.param('{loans: "> 0"}', "{loans: [many]}", "client.business[0].when.loans",
                     'loans is compared with what it has not; write ">= 1", as it has numbers', id="type"),
        pytest.param('{loans: "> 0"}', '{loans: "over 0"}', "client.business[0].when.loans",
                     "the text 'over 0' is not a condition; ", id="no condition"),
        pytest.param('{loans: "> 0"}', "{loans: {bounds: [{sign: '>', number: .nan}]}}",
                     "client.business[0].when.loans.bounds[0].number", "nan is not a finite number; ", id="no number"),
        pytest.param('{loans: "> 0"}', '{loans: "> 5 and <= 5"}', "client.business[0].when.loans",
                     "no number is > 5 and <= 5; correct one of the two", id="impossible"),
        pytest.param("{name: person, then: individual}", '{name: person, when: {age: ">= 0"}, then: individual}',
                     "client.type[2]", "person has conditions, which leaves a gap; end with one without when",
                     id="rest"),
        pytest.param("{name: firm, when: {kind: [corporate]}, then: corporate}", "{name: firm, then: corporate}",
                     "client.type[1]", "is never reached, as firm before it is for everybody; move it up", id="hidden"),
        pytest.param("{name: borrows,", "{name: has a limit,", "client.business[1]",
                     "has a limit is there 2 times; rename all but one", id="names"),
        pytest.param("restricted: [construction, tourism]", "restricted: [construction, tourism, health]",
                     "industries.restricted[2]", "health is already favoured; keep it in one of the two", id="sector"),
        pytest.param("then: corporate}", "then: firm}", "client.type[0].then",
                     "the text 'firm' is not known; use one of corporate, institution, individual", id="outcome"),
        pytest.param("{name: everybody else, then: branch}", "{name: everybody else, then: brunch}",
                     "level[3].then", "the text 'brunch' is not known; did you mean branch?",
                     id="level"),
        pytest.param("{name: person, then: personal_desk}", "{name: person, then: person_desk}",
                     "linkage.leads[3].then", "there is no desk person_desk; did you mean personal_desk?", id="desk"),
        pytest.param("    international: trade_desk\n", "", "linkage.lines",
                     "lacks international, which products are of; give each a desk", id="line without a desk"),
        pytest.param("relation: staff", "relation: stuff", "linkage.linked[0].relation",
                     "the text 'stuff' is not known; did you mean staff?", id="relation"),
        pytest.param("products: [payroll_account]", "products: [payroll_acount]", "linkage.linked[1].products[0]",
                     "there is no product payroll_acount; did you mean payroll_account?", id="product of linkage"),
        pytest.param("line: 0.6, linked: 0.2}", "line: 0.6, linked: 0.3}", "linkage.split",
                     "the weights add up to 1.1 and not to 1; correct one", id="split"),
        pytest.param("{lead: 0.2, line: 0.6, linked: 0.2}", "{lead: 0.0, line: 0.0, linked: 1.0}", "linkage.split",
                     "what no linked client has part in would be nobody's; give lead or line a weight", id="nobody's"),
        pytest.param("trade_desk, key_accounts]", "trade_desk, key_accounts, desk_of_old]", "linkage.desks",
                     "desk_of_old is never in the room; name it in lines, linked or leads, or remove it", id="idle"),
        pytest.param("dedicated: {clients: 30}", "dedicated: {clients: 0}", "service.managers.grades.dedicated.clients",
                     "0 is not at least 1; correct it", id="number"),
        pytest.param("then: {days: 30, purpose: \"Condition", "then: {dys: 30, purpose: \"Condition",
                     "service.visits[2].then.dys", "is not a field of a visit; did you mean days?", id="field"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, old: str, new: str, key: str, message: str) -> None:
    assert TEXT.count(old) == 1, "the test changes one place"
    file = tmp_path / "policy.yaml"
    file.write_text(TEXT.replace(old, new), encoding="utf-8")
    found = problems(file)
    assert len(found) == 1, found
    line, _, told = found[0].partition(": ")
    assert told.startswith(f"{key}: {message}"), told
    elsewhere = {"committees: [branch, head_office]": "{name: medium,", "    international: trade_desk\n": "  lines:\n"}
    near = elsewhere.get(old, old)
    assert 0 <= int(line) - 1 - TEXT[: TEXT.index(near)].count("\n") <= 1, "the line of the key, or of its entry"


def test_steps_go_down_as_the_tiers_do(tmp_path: Path) -> None:
    file = changed(tmp_path / "policy.yaml", "tiers", "order", to=["key", "standard", "core", "basic"])
    found = [line.partition(": ")[2] for line in problems(file)]
    why = "the tiers do not go down as in tiers.order, key, standard, core, basic; sort the steps"
    assert found == [f"tiers.scales[{number}].steps: {why}" for number in range(3)]


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(TEXT.replace("{loans:", "{lones:").replace("mortgage]", "boat_loan]"), encoding="utf-8")
    found = problems(file)
    lines = [int(line.partition(":")[0]) for line in found]
    assert len(found) == 2
    assert lines == sorted(lines)


@pytest.mark.parametrize(("text", "message"), [("", "1"), ("- a\n", ":1: not a mapping"), ("a: [", "not YAML")])
def test_what_is_no_policy_is_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(StrategyError) as caught:
        read_strategy(file, CATALOG)
    assert message in str(caught.value) or "is missing; add it" in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="there is no such file"):
        read_strategy(tmp_path / "policy.yaml", CATALOG)


def test_attributes_that_policy_protects_stay_out_even_where_profiles_had_them() -> None:
    protecting = CATALOG.model_copy(update={"policy": Policy(protected=("closeness",))})
    with pytest.raises(StrategyError, match=r"closeness is protected by policy"):
        read_strategy(DEFAULT, protecting)


def test_a_concession_that_nobody_may_grant_is_a_route_that_nobody_may_sign() -> None:
    assert CATALOG.pricing is not None
    low = CATALOG.pricing.authorities[:2]
    sold = CATALOG.model_copy(update={"pricing": CATALOG.pricing.model_copy(update={"authorities": low})})
    with pytest.raises(StrategyError, match="a concession above what branch may grant is a route that nobody may sign"):
        read_strategy(DEFAULT, sold)


def test_a_catalog_without_prices_has_nobody_who_signs() -> None:
    with pytest.raises(StrategyError, match="the catalog has no price sheet"):
        read_strategy(DEFAULT, CATALOG.model_copy(update={"pricing": None}))


def test_sectors_are_held_against_those_that_clients_are_of() -> None:
    sectors = [name for name in POLICY.industries.sectors if name != "tourism"] + ["hospitality"]
    found = problems(DEFAULT, occurring={"sector": sectors})
    assert any("no client is of the sector tourism" in line for line in found)
    assert any("industries: lacks hospitality, which clients are of; add them" in line for line in found)


def places(content: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every way from the top of a document to something in it."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from places(value, (*at, key))


CONTENT = YAML(typ="safe").load(TEXT)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(), st.text(max_size=5), st.just("'; drop table x"),
    st.just([]), st.just({}), st.lists(st.text(max_size=3), max_size=2), st.just({"name": "x", "then": 1}),
)  # fmt: skip


@given(at=st.sampled_from(list(places(CONTENT))), value=ANYTHING)
@settings(max_examples=60)
def test_any_value_in_any_place_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, at: tuple[str | int, ...], value: Any
) -> None:
    content = place = deepcopy(CONTENT)
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    YAML(typ="safe").dump(content, file)
    try:
        policy = read_strategy(file, CATALOG)
    except StrategyError as error:
        told = str(error).splitlines()
    else:  # what is read can be applied
        assert len(plan(profiles({"kind": "corporate"}), policy)) == 1
        return
    assert all(line.startswith(str(file)) for line in told)


def test_the_default_policy_can_be_written_by_a_program_too(tmp_path: Path) -> None:
    yaml = YAML()
    yaml.dump(yaml.load(TEXT), tmp_path / "again.yaml")
    assert read_strategy(tmp_path / "again.yaml", CATALOG).version == POLICY.version
