"""YAML into a `Catalog`, with every mistake named by file, line and key before anything else happens.

The YAML is composed into nodes, which know their lines; pydantic checks the values; what it finds is put
back onto the nodes. YAML 1.2 by ruamel.yaml, so that `no` is a text and not false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sheaf.catalog.catalog import Catalog
from sheaf.catalog.messages import in_words
from sheaf.catalog.price_schema import Pricing, Sheet
from sheaf.catalog.schema import Bundle, Kind, Line, Policy, Product
from sheaf.catalog.validation import Where, contradictions, did_you_mean, key_path

DEFAULT = Path(__file__).parent / "default"
"""The folder of the bank that comes with the project."""

SHARED = ("products", "bundles", "policy", "pricing")  # sections that several files of a folder may each add to
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_M = TypeVar("_M", bound=BaseModel)


class CatalogError(ValueError):
    """A catalog that cannot be used; one line of the message for each mistake: `file:line: key.path: what; remedy`."""


@dataclass
class _Source:
    """The files' content under one mapping, where each key stands, and what was wrong so far."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)
    places: dict[Where, tuple[Path, int]] = field(default_factory=dict)
    problems: set[tuple[Path, int, str]] = field(default_factory=set)
    unread: bool = False  # a file could not be read: what it would have said may be what others rely on

    def report(self, at: Where, what: str) -> None:
        """Notes a mistake at a key, placed at the nearest key above where it is not written down itself."""
        written = at
        while written and written not in self.places:
            written = written[:-1]
        file, line = self.places.get(written, (self.path, 0))
        self.problems.add((file, line, f"{key_path(at)}: {what}" if at else what))

    def told(self) -> str:
        """Every mistake on a line, in the order of files and lines."""
        found = sorted(self.problems)
        lines = [f"{file}:{line}: {what}" if line else f"{file}: {what}" for file, line, what in found]
        return "\n".join(map(_printable, lines))


def read_catalog(path: Path | str) -> Catalog:
    """The catalog in a YAML file, or in all `*.yaml` and `*.yml` files of a folder taken together.

    Parameters
    ----------
    path
        The file or folder; `sheaf.DEFAULT` is the folder of Sheaf's own catalog.

    Returns
    -------
    Catalog
        Products, bundles, policy and prices. `catalog.version` is a hash of its content.

    Raises
    ------
    CatalogError
        With everything that is wrong, in the order of files and lines.

    Examples
    --------
    >>> catalog = sheaf.read_catalog(sheaf.DEFAULT)
    >>> "mortgage" in [product.product_id for product in catalog.products]
    True
    """
    source = _Source(Path(path))
    for file in _files(source):
        _load(file, source)
    catalog = _build(source)
    if catalog is None or source.problems:
        raise CatalogError(source.told())
    return catalog


def read_model(
    path: Path | str,
    model: type[_M],
    contradictions: Callable[[_M], Iterable[tuple[Where, str]]],
    error: Callable[[str], ValueError],
) -> _M:
    """The model in a YAML file other than a catalog, read and checked in the same manner.

    `contradictions` gives what is wrong between the parts of a model whose fields are right. Raises `error` of a
    message like CatalogError's, with everything that is wrong.
    """
    source, made = _Source(Path(path)), None
    if source.path.is_file():
        _load(source.path, source)
    else:
        _unread(source, source.path, 0, "there is no such file; give a YAML file")
    if not source.unread:
        try:
            made = model.model_validate(source.content)
        except ValidationError as found:
            for detail in found.errors():
                source.report(*in_words(model, detail))
    for at, what in contradictions(made) if made is not None else ():
        source.report(at, what)
    if made is None or source.problems:
        raise error(source.told())
    return made


def _printable(line: str) -> str:
    r"""The line with what would break it, or no terminal can show, as escapes: a key may hold "\n" or "\ud800"."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def _files(source: _Source) -> list[Path]:
    path = source.path
    if path.is_file():
        return [path]
    if not path.is_dir():
        _unread(source, path, 0, "there is no such file or folder; give a YAML file or a folder of them")
        return []
    files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file())
    if not files:
        _unread(source, path, 0, "the folder holds no YAML file; add one that ends in .yaml")
    return files


def _unread(source: _Source, file: Path, line: int, what: str) -> None:
    source.problems.add((file, line, what))
    source.unread = True


def _load(file: Path, source: _Source) -> None:
    """Adds what a file says, and where, to `source`."""
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # _walk reports all of them; the constructor would stop at the first
    here = _Source(file)
    try:
        node = yaml.compose(file.read_text(encoding="utf-8-sig"))
        if node is None:
            return
        _walk(node, (), here, set())
        content = yaml.constructor.construct_document(node)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        return _unread(source, file, mark.line + 1 if mark else 0, f"not YAML, {what}; correct it here or just above")
    except (YAMLError, ValueError, OSError, RecursionError) as error:
        return _unread(source, file, 0, f"cannot be read, {' '.join(str(error).split())}; save it as plain UTF-8 YAML")
    if not isinstance(content, dict):
        return _unread(source, file, 1, "not a mapping; begin with a key such as products:")
    for key, value in content.items():
        before = source.content.setdefault(key, {} if key in SHARED and isinstance(value, dict) else value)
        shared = key in SHARED and isinstance(value, dict) and isinstance(before, dict)
        for at in [(key, inner) for inner in value] if shared else [(key,)]:
            if at in source.places:
                other, line = source.places[at]
                here.report(at, f"is also in {other.name}:{line}; keep one of the two")
        if shared:
            source.content[key] = before | value | before  # in the order of the files, the first one's word counting
    source.problems |= here.problems
    source.places = here.places | source.places


def _walk(node: Node, at: Where, source: _Source, seen: set[int]) -> None:
    """Notes the line of every key, and what is wrong with the keys themselves."""
    if id(node) in seen:  # an alias: its keys stand where the anchor is
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key, value in list(node.value):
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                what = "a list or mapping cannot be a key; write a text"
                source.problems.add((source.path, line, f"{key_path(at)}: {what}" if at else what))
                node.value.remove((key, value))  # so that nothing else is said about it
                continue
            inner = (*at, key.value)
            if inner in source.places:
                what = f"{key_path(inner)}: is already in line {source.places[inner][1]}; keep one of the two"
                source.problems.add((source.path, line, what))
                continue
            source.places[inner] = (source.path, line)
            if key.tag not in (_TEXT, _MERGE):
                source.report(inner, "the key is not a text; write it in quotes")
                key.tag = _TEXT  # likewise
            _walk(value, inner, source, seen)
    elif isinstance(node, SequenceNode):
        for position, value in enumerate(node.value):
            source.places[(*at, position)] = (source.path, value.start_mark.line + 1)
            _walk(value, (*at, position), source, seen)


def _build(source: _Source) -> Catalog | None:
    content = source.content
    for key in content:
        if key not in Catalog.model_fields:
            source.report((key,), f"is not a part of a catalog; {did_you_mean(key, Catalog.model_fields)}")
    products = [
        product
        for key, fields in _section("products", source)
        if (product := _checked(Product, fields, {"product_id": key}, ("products", key), source))
    ]
    known = {product.product_id: product for product in products}
    bundles = [bundle for key, fields in _section("bundles", source) if (bundle := _bundle(key, fields, known, source))]
    stated = {} if content.get("policy") is None else content["policy"]
    policy = _checked(Policy, stated, {}, ("policy",), source) or Policy()
    prices = content.get("pricing")
    currency = content.get("currency", Catalog.model_fields["currency"].default)
    pricing = None if prices is None else _pricing(prices, str(currency), source)
    if not source.unread:
        for at, what in contradictions(products, bundles, policy, pricing, str(currency)):
            source.report(at, what)
    try:
        rest = {key: content[key] for key in ("name", "currency") if key in content}
        return Catalog(products=tuple(products), bundles=tuple(bundles), policy=policy, pricing=pricing, **rest)
    except ValidationError as error:
        for detail in error.errors():
            if detail["loc"]:  # without a place: the contradictions, which are reported above
                source.report(*in_words(Catalog, detail))
        return None


def _section(name: str, source: _Source) -> Iterable[tuple[str, Any]]:
    section = source.content.get(name)
    if section is not None and not isinstance(section, dict):
        source.report((name,), "not a mapping; write each id with a colon, and its fields below it, indented")
        source.unread = True
    return section.items() if isinstance(section, dict) else ()


def _bundle(key: str, fields: Any, known: dict[str, Product], source: _Source) -> Bundle | None:
    """The bundle with its line that of the lead product, and its kinds those that all products share, unless given."""
    named = fields.get("products") if isinstance(fields, dict) else None
    held = [known[one] for one in named if isinstance(one, str) and one in known] if isinstance(named, list) else []
    shared = [kind for kind in Kind if all(kind in product.kinds for product in held)]
    if not shared and "kinds" not in fields:
        each = ", ".join(f"{product.product_id} ({', '.join(product.kinds)})" for product in held)
        source.report(("bundles", key, "products"), f"no kind of client may hold all of {each}; take some out")
    assumed = {"bundle_id": key, "line": held[0].line if held else Line.RETAIL, "kinds": shared or tuple(Kind)}
    bundle = _checked(Bundle, fields, assumed, ("bundles", key), source)
    return bundle if shared or "kinds" in fields else None  # kinds made up here would contradict the products'


def _pricing(fields: Any, currency: str, source: _Source) -> Pricing | None:
    """The prices. A sheet with something wrong is left out, and what is wrong beside the sheets has a stand-in that no
    sheet contradicts: so every sheet is checked in the same run."""
    before = len(source.problems)
    whole = _checked(Pricing, fields, {}, ("pricing",), source)
    if len(source.problems) == before or not isinstance(fields, dict):
        return whole
    stated = fields.get("products")
    stated = stated if isinstance(stated, dict) else {}
    sheets = {key: sheet for key, sheet in stated.items() if not _wrong(Sheet, sheet)}
    sold = source.content.get("products")
    sheets |= {key: {} for key in stated if key not in sheets and isinstance(sold, dict) and key not in sold}
    currencies = {currency, *(sheet["currency"] for sheet in sheets.values() if sheet.get("currency"))}
    line = [{"years": years, "rate": 0.0} for years in (1e-9, 1e9)]
    stand_in = {
        "curves": {one: line for one in currencies if re.fullmatch("[A-Z]{3}", one)},
        "rates": dict.fromkeys(currencies - {currency}, 1.0),
        "grades": {"-": {"pd": 0.01}},
        "unrated": "-",
    }
    fits = {name: value for name, value in fields.items() if name not in _wrong(Pricing, fields)}
    for right in (fits, stand_in | fits, stand_in):
        if not _wrong(Pricing, candidate := right | {"products": sheets}):
            return Pricing.model_validate(candidate)
    return whole


def _wrong(model: type[_M], fields: Any) -> set[str]:
    """The fields that are wrong; empty text for the whole."""
    try:
        model.model_validate(fields)
    except ValidationError as error:
        return {str(detail["loc"][0]) if detail["loc"] else "" for detail in error.errors()}
    return set()


def _checked(model: type[_M], fields: Any, assumed: dict[str, Any], at: Where, source: _Source) -> _M | None:
    """The model; where fields are wrong, they are reported and the model is what the others make of it.

    So what is wrong between this and other parts is found in the same run, and nothing is said that only follows from
    a mistake already named. None where nothing can stand in for what is wrong, as for a bundle's products.
    """
    right: dict[str, Any] = {}
    if not isinstance(fields, dict):
        source.report(at, "not a mapping; write its fields below it, indented")
    else:
        ids = {name for name in fields if name in assumed and name.endswith("_id")}
        for name in ids:
            source.report((*at, name), "the key above is the id; remove this line")
        right = {name: value for name, value in fields.items() if name not in ids}
        try:
            return model.model_validate(assumed | right)
        except ValidationError as error:
            for detail in error.errors():
                inner, what = in_words(model, detail)
                source.report((*at, *inner), what)
                right.pop(str(inner[0]) if inner else "", None)
    stand_in = {"name": str(at[-1]), "family": "-", "line": Line.RETAIL, "protected": ()} | assumed
    try:
        return model.model_validate({name: stand_in[name] for name in stand_in if name in model.model_fields} | right)
    except ValidationError:
        return None
