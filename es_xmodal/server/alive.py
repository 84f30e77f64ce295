"""`python -m es_xmodal.server.alive [PATH]`: asks the service on this machine whether it lives.

Leaves with 0 where `PATH` (`/healthz`; `/readyz` also needs the index) is answered with 200. It loads neither
the service nor a third-party library, because it runs every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 5.0


def ask(path: str, port: int) -> str | None:
    """Ask once.

    Args:
        path: `/healthz` or `/readyz`.
        port: where the service listens on this machine.

    Returns:
        What is wrong, in one line; None where nothing is.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer on port {port}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"{path} answered {status}"


if __name__ == "__main__":
    sys.exit(ask((sys.argv[1:] or ["/healthz"])[0], int(os.environ.get("ES_XMODAL_SERVER_PORT") or 8000)))
