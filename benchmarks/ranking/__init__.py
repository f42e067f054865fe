"""Ours beside the peers that a bank could use instead: `python -m benchmarks.ranking`."""
