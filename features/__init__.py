"""Bank tables in, client profiles as of a day out."""

from sheaf.features.bank import Bank, TableError, day_number, from_day_number
from sheaf.features.contract import TABLES, C
from sheaf.features.dictionary import by_group, feature_dictionary, to_markdown
from sheaf.features.export import write_csv, write_parquet, written_as_of
from sheaf.features.feature import Feature, FeatureType, Of, of_earlier
from sheaf.features.matrix import UNSEEN, Alignment, ProfileMatrix
from sheaf.features.profile import build_profiles, profile_matrices, profile_tables

__all__ = [
    "TABLES",
    "UNSEEN",
    "Alignment",
    "Bank",
    "C",
    "Feature",
    "FeatureType",
    "Of",
    "ProfileMatrix",
    "TableError",
    "build_profiles",
    "by_group",
    "day_number",
    "feature_dictionary",
    "from_day_number",
    "of_earlier",
    "profile_matrices",
    "profile_tables",
    "to_markdown",
    "write_csv",
    "write_parquet",
    "written_as_of",
]
