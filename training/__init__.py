"""Profiles and what clients opened next in, a ranked, calibrated, registered champion out."""

import os

# Threads of OpenMP spin while they wait for each other, and where another process has one of the cores they spin for
# its whole time slice: on two cores, two trainings at once took fifty times as long as one. These soon sleep.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from training.adoption import Adoption
from training.candidates import Candidates, Encoding, Pairs, Slate
from training.contributions import Contributions
from training.evaluation import Evaluation, evaluate
from training.fitting import fit
from training.model import ArtifactError, Model, Ranking
from training.parameters import ParameterError, Parameters
from training.population import Population
from training.ranking import BundleRows, bundle_rows
from training.sample import Day, SampleError, TrainingSample, default_days, read_sample

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
