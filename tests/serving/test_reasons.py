"""Numbers in reasons as a person would say them."""

import pytest

from sheaf.serving.engine.reasons import in_words


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0, "months", "1 day"),
        (0.2, "months", "6 days"),
        (1.5, "months", "46 days"),
        (2.0, "months", "2 months"),
        (23.0, "months", "23 months"),
        (24.0, "months", "2 years"),
        (0.256, "share", "26%"),
        (8359.2, "EUR", "8,359"),
        (3.0, "products", "3"),
        (2.34, "EUR", "2.3"),
    ],
)
def test_numbers_are_told_as_a_person_would_tell_them(value, unit, said):
    assert in_words(value, unit) == said
