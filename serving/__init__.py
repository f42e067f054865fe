"""Answers: the champion, profiles and the catalog behind one plain object, and the HTTP service around it."""

from serving.recommender import Answer, Offer, Part, Recommender, UnknownClientError

__all__ = ["Answer", "Offer", "Part", "Recommender", "UnknownClientError"]
