"""Answers: the champion, profiles and the catalog behind one plain object, and the HTTP service around it."""

from sheaf.serving.engine.recommender import Recommender, UnknownClientError
from sheaf.serving.schemas.answers import ANSWER, Answer, Offer, Part

__all__ = ["ANSWER", "Answer", "Offer", "Part", "Recommender", "UnknownClientError"]
