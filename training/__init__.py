"""Profiles and what clients opened next in, a ranked, calibrated, registered champion out."""

import os

# Threads of OpenMP spin while they wait for each other, and where another process has one of the cores they spin for
# its whole time slice: on two cores, two trainings at once took fifty times as long as one. These soon sleep.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from sheaf.training.candidates.pairs import Candidates, Encoding, Pairs, Slate
from sheaf.training.candidates.population import Population
from sheaf.training.evaluation import Evaluation, evaluate
from sheaf.training.parameters import ParameterError, Parameters
from sheaf.training.ranker.bundle_order import BundleRows, bundle_rows
from sheaf.training.ranker.contributions import Contributions
from sheaf.training.ranker.fitting import fit
from sheaf.training.ranker.model import ArtifactError, Model, Ranking
from sheaf.training.ranker.opening_probability import Adoption
from sheaf.training.samples import Day, SampleError, TrainingSample, default_days, read_sample

__all__ = [
    "Adoption",
    "ArtifactError",
    "BundleRows",
    "Candidates",
    "Contributions",
    "Day",
    "Encoding",
    "Evaluation",
    "Model",
    "Pairs",
    "ParameterError",
    "Parameters",
    "Population",
    "Ranking",
    "SampleError",
    "Slate",
    "TrainingSample",
    "bundle_rows",
    "default_days",
    "evaluate",
    "fit",
    "read_sample",
]
