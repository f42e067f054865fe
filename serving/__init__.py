"""Answers: the champion, profiles and the catalog behind one plain object, and the HTTP service around it."""

from serving.recommender import ANSWER, Answer, Offer, Part, Recommender, UnknownClientError

__all__ = ["ANSWER", "Answer", "Offer", "Part", "Recommender", "UnknownClientError"]
