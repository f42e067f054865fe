"""The tables of the decision log. Rows are only ever added: nothing in Sheaf changes or deletes one.

What changes here changes in a new file of `migrations/versions/` as well; a test compares the two.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Outcome(StrEnum):
    """What became of an offered bundle. It may be shown any number of times, and is answered once, if ever."""

    SHOWN = "shown"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IGNORED = "ignored"


class Moment(TypeDecorator[dt.datetime]):
    """A moment, in UTC to the microsecond; databases without time zones keep it as UTC without saying so."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        return None if value is None else value.replace(tzinfo=value.tzinfo or dt.UTC).astimezone(dt.UTC)


# `key:` or `person:` and a name. SQLite takes any length, and would copy the whole table to be told of another.
_CALLER = sa.String(200).with_variant(sa.String(300), "postgresql")
metadata = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s"}
)

# Texts that are JSON are kept as text, so that an answer is to the byte what its caller got.
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("decision_id", sa.String(36), primary_key=True),  # UUIDv7: in order of time
    sa.Column("request_id", sa.String(200)),  # from the header X-Request-ID, or made for it
    sa.Column("caller", _CALLER),  # empty as long as callers do not say who they are
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("client_id", sa.String(200), index=True),  # null: someone who was not a client yet
    sa.Column("new_client", sa.Text),  # JSON: what was told of such a one
    sa.Column("channel", sa.String(100)),
    sa.Column("objective", sa.String(20), nullable=False),
    sa.Column("k", sa.Integer, nullable=False),
    sa.Column("lines", sa.Text, nullable=False),  # JSON list; empty: all lines
    sa.Column("authority", sa.String(100)),  # who priced, where the order is by value
    sa.Column("candidates", sa.Text, nullable=False),  # JSON: every bundle in order, its score and its probability
    sa.Column("list_propensity", sa.Float, nullable=False),  # chance of just this list; 1: it was not drawn
    sa.Column("price_propensity", sa.Text),  # JSON: by bundle, the chance of its concession; null: prices were computed
    sa.Column("answer", sa.Text, nullable=False),  # JSON as it was sent: order, prices, reasons
    sa.Column("own", sa.Text),  # JSON: what prices went by of what the client held; null: typical contracts
    sa.Column("profile", sa.LargeBinary, nullable=False),  # float32, little-endian, in the columns of the candidates
    sa.Column("profile_day", sa.String(10), nullable=False),
    sa.Column("model_version", sa.String(40), nullable=False),
    sa.Column("catalog_version", sa.String(40), nullable=False),  # products, bundles, prices and policy
    sa.Column("response_version", sa.String(40)),  # of the learned price response, if there was one
    sa.Column("plan", sa.Text),  # JSON: how the client was served, with what that went by; null: it had no plan
    sa.Column("policy_version", sa.String(40)),  # of the strategy, if there was a plan
)

quotes = sa.Table(
    "quotes",
    metadata,
    sa.Column("quote_id", sa.String(36), primary_key=True),  # UUIDv7
    sa.Column("request_id", sa.String(200)),
    sa.Column("caller", _CALLER),
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("client_id", sa.String(200), nullable=False, index=True),
    sa.Column("channel", sa.String(100)),
    sa.Column("asked", sa.Text, nullable=False),  # JSON: the bundle, and what was supposed
    sa.Column("held", sa.Text, nullable=False),  # JSON: what of the client was priced by
    sa.Column("priced_by", sa.Text),  # JSON: what else it was priced by, for a replay; null: an older Sheaf's
    sa.Column("answer", sa.Text, nullable=False),  # JSON as it was sent
    sa.Column("model_version", sa.String(40), nullable=False),
    sa.Column("catalog_version", sa.String(40), nullable=False),
    sa.Column("response_version", sa.String(40)),
    sa.Column("plan", sa.Text),  # JSON, as in decisions
    sa.Column("policy_version", sa.String(40)),
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("idempotency_key", sa.String(200), primary_key=True),
    sa.Column("decision_id", sa.String(36), sa.ForeignKey(decisions.c.decision_id), nullable=False, index=True),
    sa.Column("bundle_id", sa.String(200), nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("recorded_at", Moment, nullable=False),
    sa.Column("caller", _CALLER, primary_key=True),  # whose the key is; empty: nobody has to say who asks
    # Whoever writes at the same time: no bundle of a decision is answered twice.
    sa.Index(
        "uq_feedback_answered",
        "decision_id",
        "bundle_id",
        unique=True,
        sqlite_where=sa.text("outcome <> 'shown'"),
        postgresql_where=sa.text("outcome <> 'shown'"),
    ),
)
