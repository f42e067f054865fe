"""A learned thing that is kept as one JSON file, LightGBM's text in it: nothing in which is executed on loading."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm as lgb

from sheaf.training.ranker.model import ArtifactError


class OneFile(ABC):
    """`FILE` is its name in the folder, `FORMAT` what this version writes and reads, `AGAIN` how to make it anew."""

    FILE: ClassVar[str]
    FORMAT: ClassVar[int]
    AGAIN: ClassVar[str]

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All of it but the format."""

    @classmethod
    @abstractmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` told. Raises KeyError, TypeError or ValueError for anything else."""

    def _text(self) -> str:
        return json.dumps({"format": self.FORMAT, **self.to_json()}, indent=1)

    @cached_property
    def version(self) -> str:
        """12 hexadecimal digits of the content's SHA-256."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:12]

    def save(self, folder: Path) -> str:
        """Writes it and returns its fingerprint (SHA-256 of the file)."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"sha256": _digest(json.loads(self._text())), **json.loads(self._text())}, indent=1)
        (folder / self.FILE).write_text(text, encoding="utf-8")
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def load(cls, folder: Path, fingerprint: str | None = None) -> Self:
        """Raises ArtifactError where the file is not what was saved."""
        place = folder / cls.FILE
        try:
            text = place.read_text(encoding="utf-8")
            content = json.loads(text)
            if fingerprint is not None and hashlib.sha256(text.encode()).hexdigest() != fingerprint:
                raise ArtifactError(f"{place} was damaged or altered since it was registered; learn it anew")
            digest = content.pop("sha256", None)
            if digest is None and fingerprint is None:  # of an earlier version, or what says so was damaged
                raise ArtifactError(
                    f"{place} does not say what it was when it was saved, so damage would not show; lay it out anew: "
                    f"sheaf serve --data DIR, or learn it anew: {cls.AGAIN}"
                )
            if digest is not None and digest != _digest(content):
                raise ArtifactError(f"{place} was damaged or altered since it was saved; learn it anew: {cls.AGAIN}")
            if content["format"] != cls.FORMAT:
                raise ArtifactError(f"{place} is of another version of Sheaf; learn it anew: {cls.AGAIN}")
            return cls.from_json(content)
        except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError) as error:
            if isinstance(error, ArtifactError):
                raise
            raise ArtifactError(f"{place} cannot be read ({error}); learn it anew: {cls.AGAIN}") from error


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
