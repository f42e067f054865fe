from __future__ import annotations

import os

from hypothesis import settings

os.environ["BENTOML_DO_NOT_TRACK"] = "true"

# No deadline: the first example pays for imports and for a DuckDB connection. The same examples every time under CI,
# so that a submission is never judged by another one's luck; new ones on every run at a developer's desk.
settings.register_profile("sheaf", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("sheaf")
