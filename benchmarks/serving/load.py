"""A client that asks over one connection that it keeps open: `… benchmarks.serving.load PORT CLIENTS_FILE REQUESTS`.

A bare socket and requests made beforehand, so that the seconds are the server's and hardly the client's.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
from pathlib import Path

from benchmarks.measure import hand_back

WARM_UP = 200  # requests


def main(port: int, clients: Path, requests: int) -> None:
    """Hands back the seconds of each request. Raises RuntimeError for any answer but 200."""
    asked = [request(client) for client in json.loads(clients.read_text())]
    gc.disable()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds = []
        for number in range(WARM_UP + requests):
            started = time.perf_counter()
            _ask(connection, asked[number % len(asked)])
            seconds.append(time.perf_counter() - started)
    hand_back(seconds=seconds[WARM_UP:])


def request(client: str) -> bytes:
    body = json.dumps({"client_id": client, "k": 5}).encode()
    head = "POST /v1/recommend HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body


def _ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _receive(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b" 200 " not in lines[0]:
        raise RuntimeError(f"the server answered {lines[0].decode()}: {body[:300].decode(errors='replace')}")
    [length] = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    while len(body) < length:
        body += _receive(connection)


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise RuntimeError("the server closed the connection")
    return received


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
