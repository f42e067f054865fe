"""Answers: the champion, profiles and the catalog behind one plain object, and the HTTP service around it."""

from sheaf.serving.answers import ANSWER, Answer, Offer, Part
from sheaf.serving.recommender import Recommender, UnknownClientError

__all__ = ["ANSWER", "Answer", "Offer", "Part", "Recommender", "UnknownClientError"]
