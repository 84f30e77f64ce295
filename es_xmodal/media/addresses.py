"""Which addresses on the network may be asked for a picture.

A catalogue is written by others, and what it names is opened from inside the shop's network: a picture at
`http://169.254.169.254/` or `http://10.0.0.5/admin` would be a request that its author could not make.
So a host is resolved first, every address of it must lie on the public Internet, and the connection goes
to the address that was checked, never to the name again (a second look-up could give another answer).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeAlias

from es_xmodal.errors import PictureError

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
"""Host and port -> addresses, in the order in which they are to be tried."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def system_resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver.

    Args:
        host: a name or an address.
        port: of the service.

    Returns:
        Addresses, each once, without zone.

    Raises:
        OSError: there is no such host.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


def is_public(text: str) -> bool:
    """Return whether an address lies on the public Internet.

    Args:
        text: IPv4 or IPv6; one that carries an IPv4 address inside is judged by that.
    """
    address = _inner(ipaddress.ip_address(text))
    return address.is_global and not address.is_multicast


def checked_addresses(
    host: str, port: int, *, allowed: Collection[str] = (), resolve: Resolve = system_resolve
) -> list[str]:
    """Resolve a host and refuse it where one of its addresses is not public.

    Args:
        host: as in the URL, without brackets.
        port: of the service.
        allowed: hosts, in lower case, that may have any address.
        resolve: how names become addresses; tests replace it.

    Returns:
        Addresses to connect to, at least one.

    Raises:
        PictureError: with code `no_host` or `address_refused`.
    """
    try:
        addresses = list(resolve(host, port))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"host {host!r} cannot be found: {reason}", code="no_host") from error
    if not addresses:
        raise PictureError(f"host {host!r} has no address", code="no_host")
    if host.lower() in allowed:
        return addresses
    for address in addresses:
        if not is_public(address):
            # The address is not said: who wrote the catalogue need not learn the inside of the network.
            raise PictureError(
                f"host {host!r} is not on the public Internet",
                code="address_refused",
                hint="a picture host of your own is allowed by name: picture_hosts in the settings",
            )
    return addresses


def _inner(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
