"""Sheaf tells a bank which bundle of products to offer each client next, and at which price."""

from pathlib import Path

# In a checkout the rooms are links beside this file. A built bento keeps no links: there they lie one folder above.
if not (Path(__file__).parent / "catalog").exists():
    __path__.append(str(Path(__file__).parents[1]))
