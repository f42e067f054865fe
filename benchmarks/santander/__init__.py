"""Which product comes next at a real bank: `python -m benchmarks.santander`."""
