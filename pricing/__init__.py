"""A client and a bundle in, one integrated price out; and what a client is worth by the same economics."""

from sheaf.pricing.book import Book, NoPriceSheetError
from sheaf.pricing.clients import Client, Position
from sheaf.pricing.economics import Economics, Rates
from sheaf.pricing.offering import Clients, Pricer, Prices, signing
from sheaf.pricing.quoting import Curve, Quote, Standing, quote
from sheaf.pricing.response import Assumed, Logit, Offers, Response
from sheaf.pricing.terms import what_if
from sheaf.pricing.worth import Held, groups, of_clients, of_groups, shares, worth

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
