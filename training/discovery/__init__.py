"""What the bank could sell together and does not yet, from what clients open and hold: `discover`, `write_proposal`."""

from sheaf.training.discovery.book import DiscoveryError
from sheaf.training.discovery.evidence import DiscoverySettings, Evidence
from sheaf.training.discovery.proposal import Discovery, LinkedProposal, Proposal, Stake
from sheaf.training.discovery.search import discover
from sheaf.training.discovery.tables import tables
from sheaf.training.discovery.writing import outside, write_proposal

__all__ = [
    "Discovery",
    "DiscoveryError",
    "DiscoverySettings",
    "Evidence",
    "LinkedProposal",
    "Proposal",
    "Stake",
    "discover",
    "outside",
    "tables",
    "write_proposal",
]
