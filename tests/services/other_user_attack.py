"""The program that `other_user.attack` runs as another user: JSON of addresses and HTTP paths in, of answers out."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import sys

TIMEOUT = 3.0
"""Seconds that anything may take."""
MANY = 300
"""Characters of an answer that are kept."""

Row = tuple[str, str, bool, str]


def where(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(address: str) -> Row:
    try:
        if address.startswith("unix:"):
            name = address.removeprefix("unix:")
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(TIMEOUT)
                asked.connect(f"\0{name[1:]}" if name.startswith("@") else name)
        else:
            socket.create_connection(where(address), TIMEOUT).close()
    except OSError as error:
        return address, "connect", False, repr(error)
    return address, "connect", True, "connected"


def get(address: str, path: str, tls: bool) -> Row:
    """Any answer of an HTTP server but a refusal counts as read."""
    way = f"{'https' if tls else 'http'} {path}"
    host, port = where(address)
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT, context=unverified()
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        said = f"{response.status} {response.read(MANY).decode(errors='replace')}"
        return address, way, response.status < 400, said[:MANY]
    except (OSError, http.client.HTTPException) as error:
        return address, way, False, repr(error)[:MANY]
    finally:
        connection.close()


def contexts() -> dict[str, ssl.SSLContext | None]:
    """What to connect with: nothing, TLS without a certificate, TLS with one of an authority of our own."""
    from distributed.security import Security

    own = Security.temporary().get_connection_args("client")["ssl_context"]
    own.check_hostname = False
    own.verify_mode = ssl.CERT_NONE
    return {"tcp": None, "tls": unverified(), "tls+own": own}


async def dask(address: str, name: str, op: str, context: ssl.SSLContext | None) -> Row:
    """Ask for the identity, or have a function run: workers take `run`, schedulers `run_function`."""
    from distributed.core import connect, send_recv
    from distributed.protocol.pickle import dumps

    host, port = where(address)
    url = f"{'tls' if context else 'tcp'}://{f'[{host}]' if ':' in host else host}:{port}"
    arguments = {"ssl_context": context} if context else {}
    call = {"function": dumps(os.getuid), "args": dumps(()), "kwargs": dumps({}), "wait": True}
    message: dict[str, object] = {} if op == "identity" else call
    way = f"{name} {op}"
    try:
        comm = await connect(url, timeout=TIMEOUT, **arguments)
        try:
            said = await asyncio.wait_for(send_recv(comm, op=op, reply=True, **message), TIMEOUT)
        finally:
            comm.abort()
    except Exception as error:
        return address, way, False, repr(error)[:MANY]
    # A server that knows no such question says so, or tells of an error; both are no harm.
    did = isinstance(said, dict) and said.get("status") == "OK" if op != "identity" else True
    return address, way, did, repr(said)[:MANY]


def pages(address: str, paths: list[str], tls: bool) -> list[Row]:
    rows: list[Row] = []
    for path in paths:
        rows.append(get(address, path, tls))
        if rows[-1][3].startswith(("Timeout", "SSL", "Connection", "Remote", "BadStatus")):
            break  # it speaks no HTTP
    return rows


async def all_ways(address: str, paths: list[str], spoken: dict[str, ssl.SSLContext | None]) -> list[Row]:
    """Try one address in all ways at the same time: most of them end by their timeout."""
    first = connect(address)
    if address.startswith("unix:") or not first[2]:
        return [first]
    by_http = (asyncio.to_thread(pages, address, paths, tls) for tls in (False, True))
    asked = ((name, op, context) for name, context in spoken.items() for op in ("identity", "run", "run_function"))
    read = await asyncio.gather(*by_http)
    return [first, *read[0], *read[1], *await asyncio.gather(*(dask(address, *one) for one in asked))]


async def main() -> None:
    asked = json.loads(sys.argv[1])
    spoken = contexts()
    found = await asyncio.gather(*(all_ways(address, asked["paths"], spoken) for address in asked["addresses"]))
    print(json.dumps([row for rows in found for row in rows]))


asyncio.run(main())
