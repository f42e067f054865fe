"""What the bank could sell together and does not yet, from what clients open and hold: `discover`, `write_proposal`."""

from training.discovery.book import DiscoveryError
from training.discovery.evidence import Evidence, Settings
from training.discovery.proposal import Discovery, LinkedProposal, Proposal, Stake
from training.discovery.search import discover
from training.discovery.tables import tables
from training.discovery.writing import outside, write_proposal

__all__ = [
    "Discovery",
    "DiscoveryError",
    "Evidence",
    "LinkedProposal",
    "Proposal",
    "Settings",
    "Stake",
    "discover",
    "outside",
    "tables",
    "write_proposal",
]
