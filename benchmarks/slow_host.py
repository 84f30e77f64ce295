"""A picture server that takes its time for each answer, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen


@contextmanager
def slow_host(folder: Path, *, delay_s: float) -> Iterator[str]:
    """Serve the files of a folder.

    Args:
        folder: `/17.jpg` is its file of that name.
        delay_s: before each answer.

    Yields:
        The address, such as `http://127.0.0.1:40001`.
    """
    command = [sys.executable, "-m", "benchmarks.slow_host", str(folder), str(delay_s)]
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _serve(folder: Path, delay_s: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].decode("ascii").lstrip("/")
                await asyncio.sleep(delay_s)
                data = (folder / name).read_bytes()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                )
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2])))
