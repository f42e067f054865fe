"""A service that is asked for more than it can answer says so at once, and goes on answering."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from operator import itemgetter
from urllib.parse import urlsplit

import httpx
import pytest

from sheaf.serving.http.load_shedding import BATCHES, CROWDED, FULL, MANY, LoadShedder
from sheaf.serving.runtime.demonstration import running
from tests.conftest import ROOT, WholeLine
from tests.serving.test_logs import becomes

CALLERS, SECONDS = 60, 6.0


@pytest.fixture(scope="module")
def narrow(line: WholeLine) -> Iterator[str]:
    """A service in which nobody waits for more than thirty milliseconds for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAF_WAIT_SECONDS", "0.03")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        with chdir(line.folder), running() as url:
            yield url


@pytest.mark.parametrize("named", ["0", "soon"])
def test_a_wait_that_is_none_is_refused_before_any_worker_starts(line: WholeLine, named: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEAF_WAIT_SECONDS", named)
        patch.setenv("PYTHONPATH", str(ROOT))
        refused = pytest.raises(RuntimeError, match=f"SHEAF_WAIT_SECONDS is '{named}'; give seconds between")
        with chdir(line.folder), refused, running():
            pass


def ask(url: str, client: str, callers: int, seconds: float) -> list[httpx.Response]:
    """What so many are told who ask again as soon as they are answered, for so long; once, at least."""
    asked, body = urlsplit(url), json.dumps({"client_id": client}).encode()
    head = "POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}"

    async def all_of_them() -> list[httpx.Response]:
        replies: list[httpx.Response] = []
        until = time.monotonic() + seconds

        async def one() -> None:  # by hand: a client library asks for less than the service can answer
            reader, writer = await asyncio.open_connection(asked.hostname, asked.port)
            while True:
                writer.write(f"{head}\r\n\r\n".encode() + body)
                status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = dict(field.split(": ", 1) for field in fields)
                content = await reader.readexactly(int(headers["content-length"]))
                replies.append(httpx.Response(int(status.split()[1]), headers=headers, content=content))
                if time.monotonic() >= until:
                    return writer.close()

        await asyncio.gather(*(one() for _ in range(callers)))
        return replies

    return asyncio.run(all_of_them())


def test_a_queue_that_stands_is_cut_and_all_are_answered_once_it_is_gone(narrow: str, line: WholeLine):
    client = str(line.recommender.snapshot.profiles.client_ids[0])
    assert CALLERS < MANY
    replies: list[httpx.Response] = []

    def cut() -> bool:
        replies.extend(ask(narrow, client, CALLERS, SECONDS))
        return {reply.status_code for reply in replies} == {200, 503}

    assert becomes(cut, 60)  # not at once, where the disk has so much else to do that all wait for the log
    refused = [reply for reply in replies if reply.status_code == 503]
    assert all(reply.headers["retry-after"] == "1" for reply in refused)
    assert all(reply.headers["content-type"] == "application/problem+json" for reply in refused)
    assert all(reply.json()["detail"] == CROWDED for reply in refused)
    assert all(reply.json()["request_id"] == reply.headers["x-request-id"] for reply in refused)
    assert len({reply.headers["x-request-id"] for reply in refused}) == len(refused)
    told = httpx.get(f"{narrow}/metrics").text
    assert f"sheaf_turned_away_total {float(len(refused))}" in told

    def answered() -> bool:
        time.sleep(1.1)  # a window goes by
        return Counter(reply.status_code for reply in ask(narrow, client, 8, 0)) == {200: 8}

    assert becomes(answered, 30)


def test_no_more_batches_are_taken_than_are_done_in_time(narrow: str, line: WholeLine):
    clients = [str(client) for client in line.recommender.snapshot.profiles.client_ids[:200]]

    async def all_of_them() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=narrow, timeout=60) as http:
            asking = (http.post("/v1/recommend_batch", json={"client_ids": clients}) for _ in range(3 * BATCHES))
            return await asyncio.gather(*asking)

    replies = asyncio.run(all_of_them())
    assert {reply.status_code for reply in replies} == {200, 503}
    refused = [reply for reply in replies if reply.status_code == 503]
    assert all((reply.json()["detail"], reply.headers["retry-after"]) == (FULL, "1") for reply in refused)
    answered = [reply for reply in replies if reply.status_code == 200]
    assert len(answered) >= BATCHES
    assert all(len(reply.json()["answers"]) == len(clients) for reply in answered)
    assert httpx.post(f"{narrow}/v1/recommend_batch", json={"client_ids": clients[:1]}).status_code == 200


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(
    admission: LoadShedder,
    clock: Clock,
    every: float,
    takes: float,
    seconds: float,
    at_once: int = 1,
    stalls: float = 0.0,
) -> list[int]:
    """How many are let in of each `at_once` who come every so many seconds; who is let in is answered one by one, the
    first after everything has stood still for a while (`stalls`), and each takes so long."""
    waiting: list[tuple[float, ExitStack]] = []
    let_in, free, until = [], clock.now + stalls, clock.now + seconds
    while clock.now < until:
        coming = clock.now
        while waiting and waiting[0][0] <= coming:
            clock.now, work = waiting.pop(0)
            work.close()
        clock.now, count = coming, 0
        for _ in range(at_once):
            if admission.refuses() is None:
                work = ExitStack()
                work.enter_context(admission.working())
                free = max(free, clock.now) + takes
                waiting.append((free, work))
                count += 1
        let_in.append(count)
        clock.now += every
    for clock.now, work in waiting:
        work.close()
    return let_in


def test_bursts_are_answered_however_many_there_are():
    admission = LoadShedder(0.1, clock=(clock := Clock()))
    assert set(asked(admission, clock, every=1.0, takes=0.02, seconds=20, at_once=40)) == {40}


def test_as_many_as_can_be_answered_are():
    admission = LoadShedder(0.1, clock=(clock := Clock()))
    assert set(asked(admission, clock, every=0.0101, takes=0.01, seconds=20)) == {1}


@pytest.mark.parametrize("stall", [0.2, 0.4, 0.6])
def test_what_a_stall_leaves_at_eight_tenths_is_worked_off_and_nobody_is_kept_out(stall: float):
    admission = LoadShedder(0.1, clock=(clock := Clock()))
    for _ in range(10):
        assert set(asked(admission, clock, every=0.0125, takes=0.01, seconds=8)) == {1}
        let_in = asked(admission, clock, every=0.0125, takes=0.01, seconds=8, stalls=stall)
        assert set(let_in) == {1}
        assert admission.under_way == 0


def test_of_a_queue_that_stands_some_are_refused_though_no_more_come_than_go():
    admission = LoadShedder(0.1, clock=(clock := Clock()))
    let_in = asked(admission, clock, every=0.01, takes=0.01, seconds=8, stalls=0.6)
    assert set(let_in) == {0, 1}


@pytest.mark.parametrize("times", [1.5, 3, 10])
def test_of_more_than_can_be_answered_most_of_what_can_be_is_and_soon(times: float):
    """One at a time: whoever comes while there is one is refused, so a little time is lost until the next comes."""
    admission = LoadShedder(0.1, clock=(clock := Clock()))
    asked(admission, clock, every=0.01 / times, takes=0.01, seconds=5)
    assert admission.crowded
    let_in = asked(admission, clock, every=0.01 / times, takes=0.01, seconds=10)
    assert 0.7 / times < sum(let_in) / len(let_in) <= 1 / times
    assert admission.under_way == 0
    asked(admission, clock, every=0.02, takes=0.01, seconds=2.5)
    assert not admission.crowded
    assert asked(admission, clock, every=1.0, takes=0.02, seconds=0.5, at_once=40) == [40]


class Log:
    """Transactions that were made, and the seconds that they took."""

    count, seconds = 0, 0.0

    def __call__(self) -> tuple[int, float]:
        return self.count, self.seconds

    def write(self, seconds: float) -> None:
        self.count, self.seconds = self.count + 1, self.seconds + seconds


def waiting_for_the_log(admission: LoadShedder, clock: Clock, log: Log, seconds: float, takes: float) -> list[bool]:
    """Who comes every hundredth of a second and waits for the log alone, which takes so long: who of them is let in."""
    waiting: list[tuple[float, ExitStack]] = []
    let_in, until = [], clock.now + seconds
    while clock.now < until:
        while waiting and waiting[0][0] <= clock.now:
            waiting.pop(0)[1].close()
            log.write(takes)
        let_in.append(admission.refuses() is None)
        if let_in[-1]:
            work = ExitStack()
            work.enter_context(admission.working())
            waiting.append((clock.now + takes, work))
            waiting.sort(key=itemgetter(0))
        clock.now += 0.01
    for _, work in waiting:
        work.close()
    return let_in


@pytest.mark.parametrize("takes", [0.055, 0.11, 0.5])
def test_who_waits_for_a_slow_log_waits_for_nobody_else_and_is_let_in(takes: float):
    admission = LoadShedder(0.1, log := Log(), clock := Clock())
    assert all(waiting_for_the_log(admission, clock, log, 30, takes))


def test_a_log_that_stands_still_for_a_while_keeps_nobody_out():
    admission = LoadShedder(0.1, Log(), clock := Clock())
    with ExitStack() as work:
        for _ in range(5 * MANY):
            assert admission.refuses() is None
            work.enter_context(admission.working())
            work.enter_context(admission.of_log())
            clock.now += 0.005
        for _ in range(MANY):  # but no more are worked on beside them than ever
            assert admission.refuses() is None
            work.enter_context(admission.working())
        assert admission.refuses() == CROWDED
    assert admission.refuses() is None


def test_a_queue_that_stands_keeps_nobody_out_once_it_is_the_log_that_is_slow():
    admission = LoadShedder(0.1, log := Log(), clock := Clock())
    asked(admission, clock, every=0.003, takes=0.01, seconds=5)
    assert admission.crowded
    waiting_for_the_log(admission, clock, log, 2.5, 0.055)
    assert not admission.crowded
    assert all(waiting_for_the_log(admission, clock, log, 30, 0.055))


def test_after_a_stall_as_many_are_let_in_as_were_answered_before():
    """Several at once are answered in the time of one, so one at a time would be too few for ever."""
    admission = LoadShedder(0.1, Log(), clock := Clock())
    assert all(waiting_for_the_log(admission, clock, Log(), 5, 0.05))
    asked(admission, clock, every=0.003, takes=0.01, seconds=5)
    assert admission.crowded
    waiting_for_the_log(admission, clock, Log(), 2.5, 0.05)
    assert not admission.crowded
    assert all(waiting_for_the_log(admission, clock, Log(), 30, 0.05))


@pytest.mark.parametrize(("takes", "at_once"), [(0.001, 1), (0.015, 1), (0.022, 2)])
def test_beside_the_one_that_is_worked_on_are_those_whom_the_log_writes(takes: float, at_once: int):
    """A hundred are answered a second, half as many one at a time: one while another is written for two hundredths."""
    admission = LoadShedder(0.1, log := Log(), clock := Clock())
    for _ in range(50):
        asked(admission, clock, every=0.003, takes=0.01, seconds=0.1)
        for _ in range(10):
            log.write(takes)
        if admission.crowded:
            break
    assert admission.most == at_once
