"""A client and a bundle in, one integrated price out; and what a client is worth by the same economics."""

from sheaf.pricing.acceptance import Assumed, Logit, Offers, Response
from sheaf.pricing.client import Client, Position
from sheaf.pricing.client_value import Held, groups, of_clients, of_groups, shares, worth
from sheaf.pricing.concession import Clients, Pricer, Prices, signing
from sheaf.pricing.economics import Economics, Rates
from sheaf.pricing.price_table import Book, NoPriceSheetError
from sheaf.pricing.quote import Curve, Quote, Standing, quote
from sheaf.pricing.what_if import what_if

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
