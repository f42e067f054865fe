"""Candidates: which products and bundles a client may be offered, and what models see of each."""
