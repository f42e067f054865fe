"""Bank tables in, client profiles as of a day out."""

from features.contract import TABLES, C
from features.dictionary import by_group, dictionary, to_markdown
from features.feature import Feature, FeatureType
from features.matrix import UNSEEN, Alignment, ProfileMatrix, batches, encode
from features.profile import profile, profile_matrices
from features.tables import Bank, TableError, day_number, from_day_number

__all__ = [
    "TABLES",
    "UNSEEN",
    "Alignment",
    "Bank",
    "C",
    "Feature",
    "FeatureType",
    "ProfileMatrix",
    "TableError",
    "batches",
    "by_group",
    "day_number",
    "dictionary",
    "encode",
    "from_day_number",
    "profile",
    "profile_matrices",
    "to_markdown",
]
