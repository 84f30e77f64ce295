from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_xmodal.errors import StoreError
from es_xmodal.store import environment
from es_xmodal.store.environment import Environment
from es_xmodal.store.vectors import StoreStats, VectorStore, vector_key
from es_xmodal.vectors import Vector

pytestmark = pytest.mark.unit


def key(name: object) -> bytes:
    return vector_key(fingerprint="mini-0", space="joint", kind="text", content=str(name))


def vector(seed: int, dim: int = 64) -> Vector:
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def found(store: VectorStore, *names: object) -> list[Vector]:
    result = [item for item in store.get_many([key(name) for name in names]) if item is not None]
    assert len(result) == len(names)
    return result


def test_what_was_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path / "a" / "b") as store:
        store.put_many({key(n): vector(n, dim) for n, dim in enumerate((1, 64, 384, 4096))})
    with VectorStore.open(tmp_path / "a" / "b") as store:
        back = store.get_many([key(3), key("none"), key(0)])
        assert back[1] is None
        assert back[0] is not None and back[2] is not None
        assert back[0].dtype == np.float32
        assert np.array_equal(back[0], vector(3, 4096))
        assert np.array_equal(back[2], vector(0, 1))
        back[0][0] = 0.0  # the caller owns it


def test_nothing_asked_and_nothing_put(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path) as store:
        store.put_many({})
        assert store.get_many([]) == []
        assert store.stats().entries == 0


@given(
    st.lists(st.tuples(st.text(), st.text(), st.sampled_from(["picture", "text"]), st.text()), unique=True)
)
def test_keys_are_32_bytes_and_as_many_as_their_parts(parts: list[tuple[str, str, str, str]]) -> None:
    keys = {vector_key(fingerprint=f, space=s, kind=k, content=c) for f, s, k, c in parts}  # type: ignore[arg-type]
    assert len(keys) == len(parts)
    assert all(len(item) == 32 for item in keys)


def test_key_of_a_text_with_a_lone_surrogate() -> None:
    assert key("\ud83d") != key("\ufffd")


def test_stats_count(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path) as store:
        store.put_many({key(n): vector(n, 512) for n in range(100)})
        store.put_many({key(1): vector(7, 512)})
        stats = store.stats()
    assert isinstance(stats, StoreStats)
    assert stats.entries == 100
    assert 100 * 2048 < stats.used_bytes <= (tmp_path / "data.mdb").stat().st_size


@pytest.mark.parametrize("bit", [0, 8 * 3, 8 * 5, 8 * 40 + 3, -1])
def test_a_flipped_bit_is_missing_logged_and_repaired(
    tmp_path: Path, bit: int, caplog: pytest.LogCaptureFixture
) -> None:
    with VectorStore.open(tmp_path) as store:
        store.put_many({key(1): vector(1), key(2): vector(2)})
        raw = Environment(tmp_path)
        value = bytearray(raw.get_many([key(1)])[0] or b"")
        value[bit // 8] ^= 1 << (bit % 8)
        raw.put_many([(key(1), bytes(value))])
        raw.close()
        with caplog.at_level(logging.WARNING, logger="es_xmodal.store.vectors"):
            first, second = store.get_many([key(1), key(2)])
        assert first is None
        assert second is not None
        assert "damaged" in caplog.text
        store.put_many({key(1): vector(1)})
        assert np.array_equal(found(store, 1)[0], vector(1))


def test_a_flipped_bit_in_the_file_itself(tmp_path: Path) -> None:
    marked = np.full(900, 1.5, dtype=np.float32)
    with VectorStore.open(tmp_path) as store:
        store.put_many({key(1): marked, key(2): vector(2)})
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    place = data.index(marked.tobytes()) + 1000
    data[place] ^= 4
    (tmp_path / "data.mdb").write_bytes(data)
    with VectorStore.open(tmp_path) as store:
        first, second = store.get_many([key(1), key(2)])
        assert first is None
        assert second is not None


@pytest.mark.parametrize(
    "bad",
    [
        np.array([1.0, np.nan], dtype=np.float32),
        np.array([np.inf], dtype=np.float32),
        np.ones((2, 2), dtype=np.float32),
        np.ones(0, dtype=np.float32),
    ],
)
def test_a_vector_that_cannot_be_one_is_refused_and_nothing_is_written(tmp_path: Path, bad: Vector) -> None:
    with VectorStore.open(tmp_path) as store:
        with pytest.raises(StoreError, match="cannot be stored"):
            store.put_many({key(1): vector(1), key(2): bad})
        assert store.stats().entries == 0


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path) as store, pytest.raises(StoreError, match="3 bytes"):
        store.get_many([b"abc"])


def test_the_map_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_FIRST_MAP_BYTES", 64 * 1024)
    with VectorStore.open(tmp_path) as store:
        for start in range(0, 2000, 500):
            store.put_many({key(n): vector(n, 512) for n in range(start, start + 500)})
        assert store.stats().entries == 2000
        assert np.array_equal(found(store, 1999)[0], vector(1999, 512))


def test_two_stores_of_one_path_in_one_process(tmp_path: Path) -> None:
    first, second = VectorStore.open(tmp_path), VectorStore.open(tmp_path / "." / "")
    first.put_many({key(1): vector(1)})
    first.close()
    first.close()
    assert np.array_equal(found(second, 1)[0], vector(1))
    with pytest.raises(StoreError, match="closed"):
        first.get_many([key(1)])
    second.close()
    with VectorStore.open(tmp_path) as third:
        assert third.stats().entries == 1


def test_threads_share_a_store_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_FIRST_MAP_BYTES", 64 * 1024)
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            with VectorStore.open(tmp_path) as store:
                for n in range(part, part + 100):
                    store.put_many({key(n): vector(n, 256)})
                    found(store, n)
        except BaseException as error:  # the main thread reports it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(100 * part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with VectorStore.open(tmp_path) as store:
        assert store.stats().entries == 400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_with_the_store(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
import numpy as np
from es_xmodal.store.vectors import VectorStore, vector_key
def key(n): return vector_key(fingerprint="mini-0", space="joint", kind="text", content=str(n))
store = VectorStore.open(pathlib.Path({str(tmp_path)!r}))
store.put_many({{key(1): np.ones(4, dtype=np.float32)}})
child = os.fork()
if child == 0:
    assert store.get_many([key(1)])[0] is not None
    store.put_many({{key(2): np.ones(4, dtype=np.float32)}})
    store.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.get_many([key(2)])[0] is not None
store.put_many({{key(3): np.ones(4, dtype=np.float32)}})
assert store.stats().entries == 3
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WRITER = """
import pathlib, sys
import numpy as np
from es_xmodal.store import environment
from es_xmodal.store.vectors import VectorStore, vector_key
environment._FIRST_MAP_BYTES = 64 * 1024
path, name, count = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def key(n): return vector_key(fingerprint="mini-0", space="joint", kind="text", content=f"{name}{n}")
with VectorStore.open(path) as store:
    print("open", flush=True)
    for start in range(0, count, 10):
        batch = {key(n): np.full(256, n, dtype=np.float32) for n in range(start, start + 10)}
        store.put_many(batch)
        print(start, flush=True)
        assert all(item is not None for item in store.get_many(list(batch)))
"""


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_write_at_once_and_the_map_grows_under_both(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, name, 600) for name in ("a", "b")]
    with VectorStore.open(tmp_path) as store:  # a third one that reads while it grows
        outputs = [writer.communicate() for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0], outputs
        assert store.stats().entries == 1200
        for name in ("a0", "a599", "b599"):
            assert found(store, name)[0][0] == int(name[1:])


OPENERS = """
import multiprocessing, pathlib, sys
import lmdb
import numpy as np
from es_xmodal.store import environment
from es_xmodal.store.vectors import VectorStore, vector_key
environment._FIRST_MAP_BYTES = 64 * 1024
def key(n): return vector_key(fingerprint="mini-0", space="joint", kind="text", content=str(n))
def work(path, part, barrier):
    for turn in range(20):
        barrier.wait()  # all at once
        for first in range(60 * part, 60 * part + 60, 10):
            with VectorStore.open(path / str(turn)) as store:
                store.put_many({key(n): np.full(256, n, dtype=np.float32) for n in range(first, first + 10)})
context = multiprocessing.get_context("fork")
barrier = context.Barrier(4, timeout=20)
path = pathlib.Path(sys.argv[1])
processes = [context.Process(target=work, args=(path, part, barrier)) for part in range(4)]
for process in processes:
    process.start()
for process in processes:
    process.join()
sys.exit(sum(process.exitcode != 0 for process in processes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_store_opens_while_others_make_it_larger(tmp_path: Path) -> None:
    # Between reading the size of the map and using it, another process may have doubled it.
    command = [sys.executable, "-c", OPENERS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for turn in range(20):
        with VectorStore.open(tmp_path / str(turn)) as store:
            assert store.stats().entries == 240


def test_kill_in_the_middle_leaves_whole_batches(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, "k", 100_000)
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.strip() == "200":
            break
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    with VectorStore.open(tmp_path) as store:
        entries = store.stats().entries
        assert entries >= 210
        assert entries % 10 == 0
        found(store, "k0", "k209", f"k{entries - 1}")
        store.put_many({key("after"): vector(1)})
        found(store, "after")


def test_no_room_is_one_line_and_what_was_there_stays(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    assert resource
    code = f"""
import pathlib, resource
import numpy as np
from es_xmodal.errors import StoreError
from es_xmodal.store.vectors import VectorStore, vector_key
def key(n): return vector_key(fingerprint="mini-0", space="joint", kind="text", content=str(n))
store = VectorStore.open(pathlib.Path({str(tmp_path)!r}))
store.put_many({{key(1): np.ones(4, dtype=np.float32)}})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.put_many({{key(n): np.ones(1024, dtype=np.float32) for n in range(2, 500)}})
except StoreError as error:
    assert chr(10) not in str(error)
    print(error)
assert store.get_many([key(1), key(2)])[0] is not None
assert store.get_many([key(1), key(2)])[1] is None
store.put_many({{key(3): np.ones(4, dtype=np.float32)}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot be used" in done.stdout


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        VectorStore.open(tmp_path / "file" / "store")
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"no database" * 2000, b"\0" * 8192])
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        VectorStore.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_store_that_was_cut_off_does_not_kill_the_process(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path) as store:
        store.put_many({key(n): vector(n, 1024) for n in range(500)})
    size = (tmp_path / "data.mdb").stat().st_size
    os.truncate(tmp_path / "data.mdb", size // 2)
    with pytest.raises(StoreError, match="cut off"):
        VectorStore.open(tmp_path)
