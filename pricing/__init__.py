"""A client and a bundle in, one integrated price out; and what a client is worth by the same economics."""

from sheaf.pricing.acceptance import AcceptanceModel, Assumed, Logit, Offers
from sheaf.pricing.client import Client, Position
from sheaf.pricing.client_value import Held, groups, of_clients, of_groups, shares, worth
from sheaf.pricing.concession import Clients, Pricer, Prices, signing
from sheaf.pricing.economics import Economics, Rates
from sheaf.pricing.price_table import NoPriceSheetError, PriceTable
from sheaf.pricing.quote import Curve, Quote, Standing, price_bundle
from sheaf.pricing.what_if import apply_terms

__all__ = [
    "AcceptanceModel",
    "Assumed",
    "Client",
    "Clients",
    "Curve",
    "Economics",
    "Held",
    "Logit",
    "NoPriceSheetError",
    "Offers",
    "Position",
    "PriceTable",
    "Pricer",
    "Prices",
    "Quote",
    "Rates",
    "Standing",
    "apply_terms",
    "groups",
    "of_clients",
    "of_groups",
    "price_bundle",
    "shares",
    "signing",
    "worth",
]
