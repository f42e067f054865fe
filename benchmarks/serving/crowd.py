"""Many who ask at once: `python -m benchmarks.serving.crowd PORT CLIENTS_FILE CONNECTIONS SECONDS [RATE]`.

Each connection stays open and asks again as soon as it is answered; with a RATE, requests a second in all, whenever
one is due and a connection is free. Requests are those of `benchmarks.serving.load`.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import hand_back
from benchmarks.serving.load import request

WARM_UP = 2.0  # seconds


async def main(port: int, clients: Path, connections: int, seconds: float, rate: float | None = None) -> None:
    """Hands back the seconds of every answer by status, how long was asked, and how many requests found no connection
    free."""
    asked = itertools.cycle([request(client) for client in json.loads(clients.read_text())])
    gc.disable()
    crowd = _Crowd(port, asked, asyncio.get_running_loop().time() + WARM_UP)
    there = [await crowd.connection() for _ in range(connections)]
    until = crowd.begins + seconds
    started = time.perf_counter()
    if rate is None:
        await asyncio.gather(*(crowd.keep_asking(*one, until) for one in there))
    else:
        await crowd.ask_at(rate, there, until)
    took = time.perf_counter() - started - WARM_UP
    hand_back(seconds=crowd.seconds, took=took, found_none_free=crowd.found_none_free)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Crowd:
    def __init__(self, port: int, asked: Iterator[bytes], begins: float):
        self.port, self.asked, self.begins = port, asked, begins
        self.seconds: dict[str, list[float]] = {}
        self.found_none_free = 0

    async def connection(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        """The connection, or another where the server had closed it, as it does with what is idle for long."""
        if reader.at_eof() or reader.exception():
            writer.close()
            reader, writer = await self.connection()
        started = asyncio.get_running_loop().time()
        writer.write(next(self.asked))
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            [length] = [int(line.split(b":")[1]) for line in head if line.startswith(b"content-length:")]
            await reader.readexactly(length)
            status = head[0].split()[1].decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            status = "broken off"
        ended = asyncio.get_running_loop().time()
        if started >= self.begins:
            self.seconds.setdefault(status, []).append(ended - started)
        return reader, writer

    async def keep_asking(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
        while asyncio.get_running_loop().time() < until:
            reader, writer = await self.ask(reader, writer)

    async def ask_at(self, rate: float, there: list[Connection], until: float) -> None:
        loop, free, under_way = asyncio.get_running_loop(), list(there), set()
        due = loop.time()

        async def once(one: Connection) -> None:
            free.append(await self.ask(*one))

        while due < until:
            await asyncio.sleep(max(0.0, due - loop.time()))
            while due <= loop.time():
                due += 1 / rate
                if free:
                    task = asyncio.create_task(once(free.pop()))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                elif loop.time() >= self.begins:
                    self.found_none_free += 1
        await asyncio.gather(*under_way)


if __name__ == "__main__":
    port, clients, connections, seconds, *rate = sys.argv[1:]
    asyncio.run(main(int(port), Path(clients), int(connections), float(seconds), *map(float, rate)))
