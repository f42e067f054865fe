"""A client and a bundle in, one integrated price out; and what a client is worth by the same economics."""

from pricing.book import Book, NoPriceSheetError
from pricing.clients import Client, Position
from pricing.economics import Economics, Rates
from pricing.offering import Clients, Pricer, Prices, signing
from pricing.quoting import Curve, Quote, Standing, quote
from pricing.response import Assumed, Logit, Offers, Response
from pricing.terms import what_if
from pricing.worth import Held, groups, of_clients, of_groups, shares, worth

__all__ = [
    "Assumed",
    "Book",
    "Client",
    "Clients",
    "Curve",
    "Economics",
    "Held",
    "Logit",
    "NoPriceSheetError",
    "Offers",
    "Position",
    "Pricer",
    "Prices",
    "Quote",
    "Rates",
    "Response",
    "Standing",
    "groups",
    "of_clients",
    "of_groups",
    "quote",
    "shares",
    "signing",
    "what_if",
    "worth",
]
