"""A service that is asked by more than it can answer says so at once, and goes on answering."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir

import httpx
import pytest

from serving.demonstration import running
from tests.conftest import ROOT, WholeLine

AT_ONCE = 40


@pytest.fixture(scope="module")
def narrow(line: WholeLine) -> Iterator[str]:
    """A service that takes two requests at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAF_BUSIEST", "2")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        with chdir(line.folder), running() as url:
            yield url


@pytest.mark.parametrize("named", ["0", "many"])
def test_a_bound_that_is_none_is_refused_before_any_worker_starts(line: WholeLine, named: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAF_BUSIEST", named)
        patch.setenv("PYTHONPATH", str(ROOT))
        refused = pytest.raises(RuntimeError, match=f"SHEAF_BUSIEST: {named} is not a number of requests")
        with chdir(line.folder), refused, running():
            pass


def test_who_comes_when_it_is_busy_is_refused_with_a_time_to_come_back(narrow: str, line: WholeLine):
    client = str(line.recommender.snapshot.profiles.client_ids[0])
    limits = httpx.Limits(max_connections=AT_ONCE)

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=narrow, timeout=30, limits=limits) as http:
            one = {"client_id": client}
            return await asyncio.gather(*(http.post("/v1/recommend", json=one) for _ in range(AT_ONCE)))

    for _ in range(5):
        replies = asyncio.run(all_at_once())
        statuses = Counter(reply.status_code for reply in replies)
        assert set(statuses) == {200, 503}
        refused = [reply for reply in replies if reply.status_code == 503]
        assert all(reply.headers["retry-after"] == "1" for reply in refused)
        assert all(reply.json()["detail"] == "too many ask at once; ask again in a second" for reply in refused)
    assert httpx.post(f"{narrow}/v1/recommend", json={"client_id": client}, timeout=30).status_code == 200
