"""A bank with a known truth: `simulate` writes the contract's tables and the true opening probabilities."""

from sheaf.simulation.bank import simulate
from sheaf.simulation.tables import SimulationError

__all__ = ["SimulationError", "simulate"]
