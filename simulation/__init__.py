"""A bank with a known truth: `simulate` writes the contract's tables and the true opening probabilities."""

from simulation.bank import simulate
from simulation.tables import SimulationError

__all__ = ["SimulationError", "simulate"]
