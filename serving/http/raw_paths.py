"""Routes go by the path as it was sent: an id may have a slash in it, or end like a route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

CLIENTS, PLAN = "/v1/clients/", "/plan"


def path_by_segments(scope: Mapping[str, Any]) -> str:
    """The path to route by, in which each id is one segment and is still percent-encoded.

    Servers decode a path as a whole, after which `C1%2Fplan`, the id of a client, looks like the plan of C1. A slash
    that is sent as it is belongs to the id too, but for that of the route `/v1/clients/{id}/plan`.
    """
    sent = scope.get("raw_path") or quote(scope["path"]).encode()
    if b"%" not in sent and not scope["path"].startswith(CLIENTS):
        return str(scope["path"])
    path = "/".join(quote(unquote(segment), safe="") for segment in sent.decode("latin-1").split("/"))
    if not path.startswith(CLIENTS):
        return path
    rest = path.removeprefix(CLIENTS)
    of_plan = rest.endswith(PLAN) and rest != PLAN
    client_id = rest.removesuffix(PLAN) if of_plan else rest
    return CLIENTS + client_id.replace("/", "%2F") + (PLAN if of_plan else "")
