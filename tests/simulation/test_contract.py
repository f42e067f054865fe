"""The simulated bank is a bank as far as the contract goes."""

from __future__ import annotations

from sheaf.catalog import DEFAULT, read_catalog
from sheaf.features.validation.check import check


def test_the_check_of_incoming_tables_finds_nothing(folder):
    assert check(folder, read_catalog(DEFAULT)) == []
