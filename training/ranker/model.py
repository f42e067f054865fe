"""A trained model: what it is made of, what it answers, and the folder it is kept in.

The folder holds LightGBM's text files, JSON and the catalog's snapshot, with the SHA-256 of each: nothing in it is
executed on loading, and a file that is damaged, altered, missing or added is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sheaf.catalog import Catalog
from sheaf.features import Feature, FeatureType, Of, ProfileMatrix, of_earlier
from sheaf.training.booster_text import read_booster
from sheaf.training.candidates.co_openings import CoOpenings
from sheaf.training.candidates.pairs import Candidates, Encoding
from sheaf.training.candidates.population import Population
from sheaf.training.ranker.bundle_order import Completion, Order, bundle_rows, slices
from sheaf.training.ranker.choice import ChoiceModel
from sheaf.training.ranker.opening_probability import Adoption, Calibration

FORMAT = 4
MANIFEST = "manifest.json"
ADOPTION, CHOICE, ORDER = "adoption.txt", "choice.txt", "ranking.txt"
MODEL, CATALOG = "model.json", "catalog.json"
CLIENTS = 2_000  # clients a step: their candidate rows are about 60 MB
SIDE_BY_SIDE = 100  # clients a step where threads share the work: with larger arrays they wait for the system's memory


class ArtifactError(ValueError):
    """A model folder that cannot be trusted or read; the message names the file and what to do."""


@dataclass(frozen=True)
class Ranking:
    """Candidate bundles of clients, by client in the order of the profiles, best first.

    Flat arrays: `client` are rows of the profiles, `rank` starts at 1, `item` are positions in `candidates.offers`.
    `probability` is that all of what the bundle brings is opened, `log_odds` the mean over what it brings of the
    log-odds that each is opened by itself.
    """

    client: np.ndarray
    rank: np.ndarray
    item: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    log_odds: np.ndarray

    def top(self, k: int) -> Ranking:
        kept = self.rank <= k
        return Ranking(**{name: value[kept] for name, value in vars(self).items()})

    def without(self, left_out: np.ndarray) -> Ranking:
        """The ranking without the pairs that are True in `left_out` (clients, offers)."""
        kept = ~left_out[self.client, self.item]
        columns = (self.client, self.item, self.score, self.probability, self.log_odds)
        return ordered(*(column[kept] for column in columns))[1]

    @classmethod
    def join(cls, parts: Sequence[Ranking], starts: Sequence[int]) -> Ranking:
        """One ranking of several, whose clients begin at `starts`."""
        moved = [part.client + start for part, start in zip(parts, starts, strict=True)]
        names = ("rank", "item", "score", "probability", "log_odds")
        return cls(np.concatenate(moved), *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Model:
    """Both stages, and all they need to read a profile. `about` is told with every answer (as-of days, catalog, …)."""

    encoding: Encoding
    catalog: Catalog
    population: Population
    co_openings: CoOpenings
    adoption: Adoption
    order: Order
    completion: Completion
    features: tuple[Feature, ...]
    about: dict[str, Any]

    def candidates(self, catalog: Catalog | None = None) -> Candidates:
        """Candidates over the catalog given, else over the one the model was trained with."""
        catalog = catalog or self.catalog
        products = [product.product_id for product in catalog.products]
        population, co_openings = self.population, self.co_openings
        if tuple(products) != self.encoding.products:
            population = population.for_products(self.encoding.products, products)
            co_openings = co_openings.for_products(self.encoding.products, products)
        return Candidates(self.encoding, catalog, population, co_openings)

    def align(self, profiles: ProfileMatrix, candidates: Candidates | None = None) -> ProfileMatrix:
        """The profiles in this model's columns and categories; for candidates over another catalog than the one it was
        trained with, in theirs, which say who holds what came after."""
        columns = self.encoding.columns if candidates is None else candidates.columns
        return profiles.align(columns, self.encoding.categories)

    def rank(self, candidates: Candidates, values: np.ndarray, peers: np.ndarray, threads: int = 1) -> Ranking:
        """Every candidate bundle of every client, best first; equal scores in the catalog's order.

        `values` and `peers` are what `align(…).values` and `candidates.peer_groups` return.
        """
        blocks = list(slices(len(values), SIDE_BY_SIDE))

        def of(block: slice) -> Ranking:
            slate = candidates.slate(values[block])
            told = self.adoption.estimates(candidates, values[block], slate, peers[block], threads=1)
            rows = bundle_rows(candidates, values[block], slate, *told)
            score, pairs = self.order.score(rows, threads=1), rows.pairs
            return ordered(pairs.client, pairs.item, score, self.completion(rows), rows.column("log_odds"))[1]

        if not blocks:
            return Ranking(*(np.empty(0, dtype) for dtype in (int, int, int, float, float, float)))
        with ThreadPoolExecutor(threads) as pool:  # a block a thread: then the rows are made side by side as well
            return Ranking.join(list(pool.map(of, blocks)), [block.start for block in blocks])

    def save(self, folder: Path) -> str:
        """Writes the artifact into an empty or new folder and returns its fingerprint (SHA-256 of the manifest)."""
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ArtifactError(f"{folder} is not empty; give a new folder for the model")
        content = {
            "format": FORMAT,
            "encoding": self.encoding.model_dump(mode="json"),
            "population": self.population.to_json(),
            "co_openings": self.co_openings.to_json(),
            "calibration": asdict(self.adoption.calibration),
            "together": asdict(self.adoption.together),
            "order_share": self.order.share,
            "completion": asdict(self.completion),
            "features": [asdict(feature) for feature in self.features],
            "about": self.about,
        }
        files = {
            **self._boosters(),
            MODEL: json.dumps(content, indent=1, sort_keys=True),
            CATALOG: self.catalog.model_dump_json(indent=1),
        }
        for name, text in files.items():
            (folder / name).write_bytes(text.encode())
        hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
        manifest = json.dumps({"format": FORMAT, "sha256": hashes}, indent=1, sort_keys=True)
        (folder / MANIFEST).write_bytes(manifest.encode())
        return hashlib.sha256(manifest.encode()).hexdigest()

    @classmethod
    def load(cls, folder: Path, fingerprint: str | None = None) -> Model:
        """The model in `folder`. Raises ArtifactError where anything in it is not what was saved.

        With the `fingerprint` that `save` returned (the registry keeps it) a folder altered as a whole is refused too.
        """
        files = _verified(folder, fingerprint)
        content = json.loads(files[MODEL])
        if content["format"] != FORMAT:
            raise ArtifactError(
                f"{folder / MODEL}: format {content['format']}, this version reads {FORMAT}; train anew"
            )
        return cls(
            encoding=Encoding.model_validate(content["encoding"]),
            catalog=Catalog.model_validate_json(files[CATALOG]),
            population=Population.from_json(content["population"]),
            co_openings=CoOpenings.from_json(content["co_openings"]),
            adoption=Adoption(
                read_booster(files[ADOPTION]),
                Calibration(**content["calibration"]),
                ChoiceModel(read_booster(files[CHOICE])) if CHOICE in files else None,
                Calibration(**content["together"]),
            ),
            order=Order(read_booster(files[ORDER]) if ORDER in files else None, content["order_share"]),
            completion=Completion(**{name: told and tuple(told) for name, told in content["completion"].items()}),
            features=tuple(map(_feature, content["features"])),
            about=content["about"],
        )

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits that stand for this very model."""
        texts = [*self._boosters().values(), json.dumps(self.about, sort_keys=True)]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]

    def _boosters(self) -> dict[str, str]:
        """The text of every booster by the name of its file."""
        choice = self.adoption.choice
        boosters = {
            ADOPTION: self.adoption.booster,
            CHOICE: None if choice is None else choice.booster,
            ORDER: self.order.booster,
        }
        return {name: booster.model_to_string() for name, booster in boosters.items() if booster is not None}


def _feature(told: dict[str, Any]) -> Feature:
    """The statement as it was saved; one of an earlier version does not say whose rows the column follows from."""
    of = Of(told["of"]) if "of" in told else of_earlier(told["name"])
    return Feature(**{**told, "type": FeatureType(told["type"]), "of": of})


def ordered(
    client: np.ndarray, item: np.ndarray, score: np.ndarray, probability: np.ndarray, log_odds: np.ndarray
) -> tuple[np.ndarray, Ranking]:
    """The order of the pairs, by client and best first, equal scores in the catalog's order; and they in that order."""
    order = np.lexsort((item, -score, client))
    client = client[order]
    starts = np.flatnonzero(np.r_[True, client[1:] != client[:-1]]) if len(client) else np.empty(0, dtype=int)
    rank = np.arange(len(client)) - np.repeat(starts, np.diff(np.r_[starts, len(client)])) + 1
    return order, Ranking(client, rank, item[order], score[order], probability[order], log_odds[order])


def _verified(folder: Path, fingerprint: str | None) -> dict[str, str]:
    """The files of the artifact as text, after their hashes were found to be right."""
    manifest = folder / MANIFEST
    try:
        told = manifest.read_bytes()
        hashes = json.loads(told)["sha256"]
        names = set(hashes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{manifest} cannot be read ({error}); this is no complete model, train anew") from error
    if fingerprint is not None and hashlib.sha256(told).hexdigest() != fingerprint:
        raise ArtifactError(f"{folder} is not the model that was registered: its manifest was altered; train anew")
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    if there != names or not {ADOPTION, MODEL, CATALOG} <= names:
        odd = sorted(there ^ names | ({ADOPTION, MODEL, CATALOG} - names))
        raise ArtifactError(f"{folder}: {odd} missing or not of this model; restore the folder or train anew")
    files = {}
    for name, digest in hashes.items():
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ArtifactError(f"{folder / name} was damaged or altered since it was saved; restore it or train anew")
        files[name] = content.decode()
    return files
