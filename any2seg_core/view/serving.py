"""Serving the page: a port of this machine, one line that says where, until somebody ends it."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import say
from any2seg_core.fleet.packages import package

if TYPE_CHECKING:
    from any2seg_core.view.drives import Drives

LOOPBACK, PORT = "127.0.0.1", 8319
_SHUTDOWN_S = 2


def require_packages() -> None:
    """UserError where those of the page are not installed."""
    for name in ("starlette", "uvicorn"):
        package(name, "view", "the page")


def serve(drives: Drives, host: str, port: int) -> None:
    """Serve until the process is told to end.

    Args:
        host: address or name of this machine to listen at. port: 0: any that is free.

    Raises:
        UserError: a package is missing, the port is in use, or the address is none of this machine.
    """
    require_packages()
    import uvicorn

    from any2seg_core.view.app import make_app
    from any2seg_core.view.decoder import Decoder

    listening = _listen(host, port)
    with listening, Decoder(drives.open_reader, drives.idle) as decoder:
        app = make_app(drives, decoder, names=[host])
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{listening.getsockname()[1]}/  (ends with Ctrl-C)")
        if not _is_loopback(listening.getsockname()[0]):
            say("! everybody who reaches this port can see the recordings", err=True)
        with suppress(KeyboardInterrupt):  # which uvicorn passes on when it has ended
            uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host}: is no address of this machine ({error})", "address-unusable") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(
            f"port {port} of {host} cannot be used ({error.strerror or error}): choose another --port, or --host",
            "address-unusable",
        ) from None
    return listening


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
