"""Plans, offers and prices compared over groups of a protected attribute."""
