"""The ranker: opening probabilities of products, and from them the order of bundles."""
