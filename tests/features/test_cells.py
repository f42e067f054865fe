"""The cell of a client in profiles is the one that its quote has."""

from __future__ import annotations

import narwhals as nw
import numpy as np
import pandas as pd

from sheaf.features.economics import cells
from sheaf.pricing.price_table import PriceTable
from tests.pricing.test_price_table import in_forints


def test_profiles_and_quotes_agree_on_the_size_of_a_firm_in_forints() -> None:
    catalog = in_forints()
    sales = [np.nan, 0.0, 1.999e9, 2e9, 2.001e9, 2e10, 2.001e10]
    clients = pd.DataFrame({"client_id": [f"c{at}" for at in range(len(sales))], "rating": "C", "turnover": sales})
    frame = nw.from_native(clients).with_columns(nw.when(nw.col("turnover") >= 0).then(nw.col("turnover")))
    found = cells(frame, catalog, {"turnover": nw.Float64()}).to_native()
    book = PriceTable(catalog)
    wanted = [book.cell("C", None if np.isnan(one) else one) - book.cell("C", 0.0) for one in sales]
    assert found["_size"].astype(int).tolist() == wanted == [2, 0, 0, 0, 1, 1, 2]
