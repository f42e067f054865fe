"""A discovery as YAML for a person to decide on: bundles in the catalog's own format, their evidence as comments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from sheaf.catalog import Catalog
from sheaf.training.discovery.book import DiscoveryError
from sheaf.training.discovery.evidence import Evidence
from sheaf.training.discovery.proposal import Discovery, LinkedProposal, Stake

_HEAD = """\
Proposals of `sheaf discover`, from what {clients:,} clients held on {as_of} and opened before. Nothing was changed
in the catalog, version {version}.

To approve one of `bundles`, move its entry below `bundles` of the catalog, name it, say why in a sentence that a
client may read, and narrow it with `where` if need be.

Lift: how many times as often clients have the whole as the popularity of its parts within segments explains, with
the 95 % interval; of more than two products, against the two parts that explain the whole best.
At stake: a year's margin and fees, by the catalog's own figures, of what the clients reached lack, if they complete
the bundle as often as those who hold the same parts hold all of it. That is an upper end, before cost, risk, capital
and price, and not what a campaign would bring."""

_LINKED = """\
These are about two clients each, tied by a relation. No bundle holds products of two, so they cannot be moved into
the catalog: they say whom to call, the clients on the side of `offer` where the one on the side of `where` holds the
product. Evidence counts clients on the side of `offer`."""


def outside(path: Path, catalog: Path) -> Path:
    """`path`, which is not in the `catalog` (file or folder): DiscoveryError where it is, since people change that."""
    if catalog.resolve() in (path.resolve(), *path.resolve().parents):
        raise DiscoveryError(f"{path} is part of the catalog, which only a person changes; choose a file elsewhere")
    return path


def write_proposal(discovery: Discovery, catalog: Catalog, path: Path) -> None:
    """Writes all of `discovery` to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 120
    try:
        with draft.open("w", encoding="utf-8") as file:
            yaml.dump(_content(discovery, catalog), file)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _content(discovery: Discovery, catalog: Catalog) -> CommentedMap:
    bundles = CommentedMap()
    for proposal in discovery.bundles:
        bundle = proposal.bundle
        entry = CommentedMap(name=bundle.name, products=_flow(bundle.products), kinds=_flow(map(str, bundle.kinds)))
        bundles[bundle.bundle_id] = entry
        lines = dict.fromkeys(str(catalog.product(product).line) for product in bundle.products)
        said = [f"{'across lines: ' if len(lines) > 1 else ''}{', '.join(lines)}"]
        said += [in_words(evidence) for evidence in proposal.evidence]
        said.append(at_stake(proposal.stake, catalog))
        bundles.yaml_set_comment_before_after_key(bundle.bundle_id, before="\n" + "\n".join(said), indent=2)
    content = CommentedMap(bundles=bundles)
    content.yaml_set_start_comment(
        _HEAD.format(clients=discovery.clients, as_of=discovery.as_of, version=catalog.version) + "\n\n"
    )
    if discovery.linked:
        content["linked"] = CommentedSeq(_linked(proposal, catalog) for proposal in discovery.linked)
        content.yaml_set_comment_before_after_key("linked", before="\n" + _LINKED)
    return content


def _linked(proposal: LinkedProposal, catalog: Catalog) -> CommentedMap:
    entry = CommentedMap(relation=proposal.relation)
    entry["where"] = _flow_map(side=proposal.where_side, holds=proposal.where_product)
    entry["offer"] = _flow_map(side=proposal.side, products=list(proposal.products))
    entry["evidence"] = [*map(in_words, proposal.evidence), at_stake(proposal.stake, catalog)]
    return entry


def in_words(evidence: Evidence) -> str:
    """Such as "held together by 941 clients (9.8% of those who could): lift 2.08 (2.00 to 2.17)"."""
    low, high = evidence.interval
    return (
        f"{evidence.way} together by {evidence.clients:,} clients ({evidence.support:.1%} of those who could): "
        f"lift {evidence.lift:.2f} ({low:.2f} to {high:.2f})"
    )


def at_stake(stake: Stake, catalog: Catalog) -> str:
    """Such as "reaches 8,062 clients who lack a part; 1,585 completing it would be worth 2,627,556 EUR a year"."""
    worth = f"{stake.value:,.0f} {catalog.currency} a year"
    return f"reaches {stake.reach:,} clients who lack a part; {stake.takers:,.0f} completing it would be worth {worth}"


def _flow(texts: Iterable[str]) -> CommentedSeq:
    sequence = CommentedSeq(texts)
    sequence.fa.set_flow_style()
    return sequence


def _flow_map(**values: Any) -> CommentedMap:
    mapping = CommentedMap(values)
    mapping.fa.set_flow_style()
    return mapping
