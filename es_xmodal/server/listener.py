"""The socket that the service listens on."""

from __future__ import annotations

import socket

from es_xmodal.errors import SettingsError

_BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything is loaded, so that a port in use is one clear line and the real port can be said.

    Args:
        host: address, of version 4 or 6.
        port: 0 takes a free one.

    Raises:
        SettingsError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: asyncio (seen in Python 3.11) switches Nagle's algorithm off only where the protocol is
    # said, and with it on, each answer's body waits 40 ms for the caller to acknowledge its head.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", hint="choose another --port"
        ) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """Return HOST:PORT as it stands in an address."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
