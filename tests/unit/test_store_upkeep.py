"""Notes beside the entries, what may go, checksums, and a shorter file; with real stores and processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_xmodal.errors import StoreError
from es_xmodal.store import compact as compacting
from es_xmodal.store import environment, ledger, upkeep
from es_xmodal.store.compact import compact
from es_xmodal.store.environment import Environment
from es_xmodal.store.ledger import Note
from es_xmodal.store.texts import TextStore, text_key
from es_xmodal.store.upkeep import Collected, Wish, check, collect, shares
from es_xmodal.store.vectors import VectorStore, vector_key
from es_xmodal.vectors import Vector
from tests.support.cli import UNREACHABLE, WRONG, Cli, refused

pytestmark = pytest.mark.unit

DIM = 512
SIZE = 32 + 8 + 12 + 4 * DIM
"""What an entry of this test takes: key, LMDB's own bytes, header and checksum, vector."""


def key(name: object, encoder: str = "mini-0", kind: Any = "picture") -> bytes:
    return vector_key(fingerprint=encoder, space="joint", kind=kind, content=str(name))


def vector(seed: int) -> Vector:
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def fill(path: Path, count: int, *, encoder: str = "mini-0", kind: Any = "picture", first: int = 0) -> None:
    with VectorStore.open(path) as store:
        store.put_many({key(n, encoder, kind): vector(n) for n in range(first, first + count)})


def there(path: Path, count: int, encoder: str = "mini-0") -> list[int]:
    """Which of them a store holds, without using them."""
    with opened(path) as raw:
        values = raw.get_many([key(n, encoder) for n in range(count)])
    return [n for n, value in enumerate(values) if value is not None]


@contextmanager
def opened(path: Path) -> Iterator[Environment]:
    raw = Environment(path)
    try:
        yield raw
    finally:
        raw.close()


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the day; it begins with the 100th since 1970."""

    def set_to(number: int) -> None:
        monkeypatch.setattr(ledger, "today", lambda: number)
        monkeypatch.setattr(upkeep, "today", lambda: number)

    set_to(100)
    return set_to


def old_store(path: Path, count: int) -> None:
    """As a version without notes wrote it."""
    fill(path, count)
    with opened(path) as raw:
        raw.write(lambda transaction, side: transaction.drop(side, delete=False))


def test_the_report_says_whose_the_entries_are(tmp_path: Path, day: Callable[[int], None]) -> None:
    fill(tmp_path, 3, encoder="a")
    day(101)
    fill(tmp_path, 2, encoder="b", kind="text")
    fill(tmp_path, 1, encoder="a", first=3)
    with opened(tmp_path) as raw:
        found = [
            (one.owner.fingerprint, one.owner.kind, one.entries, one.last_used_day) for one in shares(raw)
        ]
        sizes = [one.size_bytes for one in shares(raw)]
        space = raw.space()
    assert found == [("a", "picture", 4, 101), ("b", "text", 2, 101)]
    assert sizes == [4 * SIZE, 2 * SIZE]
    assert space.entries == 6
    assert 6 * SIZE < space.filled_bytes <= space.disk_bytes == (tmp_path / "data.mdb").stat().st_size


def test_entries_of_an_older_version_are_unknown_until_they_are_used(
    tmp_path: Path, day: Callable[[int], None]
) -> None:
    old_store(tmp_path, 3)
    with VectorStore.open(tmp_path) as store:
        assert store.get_many([key(1)])[0] is not None
    with opened(tmp_path) as raw:
        found = {one.owner.fingerprint: (one.entries, one.last_used_day) for one in shares(raw)}
    assert found == {"unknown": (2, None), "mini-0": (1, 100)}


def test_reading_writes_a_day_once_and_together(
    tmp_path: Path, day: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 10)
    written: list[int] = []
    with VectorStore.open(tmp_path) as store:
        whole = store._environment.write

        def counting(action: Any) -> Any:
            written.append(1)
            return whole(action)

        monkeypatch.setattr(store._environment, "write", counting)
        for _ in range(3):  # stored today: nothing to note
            store.get_many([key(n) for n in range(10)])
        store._ledger.flush()
        assert written == []
        day(101)
        monkeypatch.setattr(ledger, "_TOGETHER", 4)
        store.get_many([key(n) for n in range(3)])
        assert written == []
        store.get_many([key(3)])
        assert written == [1]
        store.get_many([key(n) for n in range(4)])
        assert written == [1]
    with opened(tmp_path) as raw:
        days = raw.read(lambda t, side: [Note.unpack(t.get(key(n), db=side)) for n in range(5)])
    assert [note.day for note in days if note] == [101, 101, 101, 101, 100]


def test_a_day_that_cannot_be_written_costs_no_vector(
    tmp_path: Path, day: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 2)
    day(101)
    monkeypatch.setattr(ledger, "_TOGETHER", 1)
    with VectorStore.open(tmp_path) as store:

        def full(action: Any) -> Any:
            raise StoreError("no space left on device")

        monkeypatch.setattr(store._environment, "write", full)
        assert np.array_equal(store.get_many([key(1)])[0], vector(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_was_not_used_for_long_goes(tmp_path: Path, day: Callable[[int], None], dry_run: bool) -> None:
    fill(tmp_path, 6)
    day(110)
    with VectorStore.open(tmp_path) as store:
        store.get_many([key(1), key(4)])
    with opened(tmp_path) as raw:
        nothing = collect(raw, Wish(older_than_days=10), dry_run=dry_run)
        done = collect(raw, Wish(older_than_days=9), dry_run=dry_run)
    assert (nothing.entries, nothing.kept_entries) == (0, 6)
    assert done == Collected(entries=4, size_bytes=4 * SIZE, kept_entries=2, kept_bytes=2 * SIZE)
    assert there(tmp_path, 6) == ([0, 1, 2, 3, 4, 5] if dry_run else [1, 4])


def test_what_has_no_day_ages_from_now_on(tmp_path: Path, day: Callable[[int], None]) -> None:
    old_store(tmp_path, 2)
    with opened(tmp_path) as raw:
        assert collect(raw, Wish(older_than_days=0), dry_run=True).entries == 0
        assert [one.last_used_day for one in shares(raw)] == [None]
        assert collect(raw, Wish(older_than_days=0)).entries == 0
        day(105)
        assert collect(raw, Wish(older_than_days=5)).entries == 0
        assert collect(raw, Wish(older_than_days=4)).entries == 2


def test_encoders_go_or_stay_by_name_and_what_is_unknown_stays(
    tmp_path: Path, day: Callable[[int], None]
) -> None:
    old_store(tmp_path, 1)
    for encoder in ("a", "b", "c"):
        fill(tmp_path, 2, encoder=encoder)
    fill(tmp_path, 2, encoder="")  # the frames of videos
    with opened(tmp_path) as raw:
        assert collect(raw, Wish(of=frozenset({"a"}), older_than_days=1)).entries == 0
        assert collect(raw, Wish(of=frozenset({"a", "z"}))).entries == 2
        assert collect(raw, Wish(not_of=frozenset({"b"}))).entries == 2
        left = {one.owner.fingerprint: one.entries for one in shares(raw)}
    assert left == {"unknown": 1, "b": 2, "": 2}


def test_the_longest_unused_make_room(tmp_path: Path, day: Callable[[int], None]) -> None:
    for number in range(4):
        day(100 + number)
        fill(tmp_path, 3, first=3 * number)
    with opened(tmp_path) as raw:
        assert collect(raw, Wish(max_bytes=12 * SIZE)).entries == 0
        done = collect(raw, Wish(max_bytes=7 * SIZE + 1))
    assert done == Collected(entries=5, size_bytes=5 * SIZE, kept_entries=7, kept_bytes=7 * SIZE)
    left = there(tmp_path, 12)
    assert left[-6:] == list(range(6, 12))
    assert left[0] in (3, 4, 5)


def test_many_entries_in_many_transactions(
    tmp_path: Path, day: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_TOGETHER", 7)
    fill(tmp_path, 50, encoder="a")
    fill(tmp_path, 50, encoder="b")
    with opened(tmp_path) as raw:
        assert collect(raw, Wish(of=frozenset({"a"}))).kept_entries == 50
        assert check(raw, VectorStore.is_whole) == (50, 0)


def test_a_damaged_entry_is_found_and_deleted(tmp_path: Path) -> None:
    fill(tmp_path / "vectors", 20)
    with TextStore.open(tmp_path / "texts") as texts:
        texts.put_many({text_key(fingerprint="ocr", content=str(n)): "milk" for n in range(3)})
    with opened(tmp_path / "vectors") as raw:
        value = bytearray(raw.get_many([key(7)])[0] or b"")
        value[100] ^= 1
        raw.put_many([(key(7), bytes(value))])
        assert check(raw, VectorStore.is_whole) == (20, 1)
        assert check(raw, VectorStore.is_whole) == (19, 0)
    assert there(tmp_path / "vectors", 20) == [n for n in range(20) if n != 7]
    with opened(tmp_path / "texts") as raw:
        assert check(raw, TextStore.is_whole) == (3, 0)


def test_a_compacted_store_is_shorter_and_holds_the_same(tmp_path: Path) -> None:
    fill(tmp_path, 300, encoder="a")
    fill(tmp_path, 30, encoder="b")
    with opened(tmp_path) as raw:
        collect(raw, Wish(of=frozenset({"a"})))
        before = raw.space()
        assert before.disk_bytes - before.filled_bytes > 200 * SIZE
    done = compact(tmp_path)
    assert done.before_bytes == before.disk_bytes
    assert done.after_bytes == (tmp_path / "data.mdb").stat().st_size < before.disk_bytes / 5
    assert there(tmp_path, 30, "b") == list(range(30))
    with opened(tmp_path) as raw:
        assert [(one.owner.fingerprint, one.entries) for one in shares(raw)] == [("b", 30)]
    fill(tmp_path, 10, encoder="a")
    assert there(tmp_path, 10, "a") == list(range(10))
    assert compact(tmp_path / "none").after_bytes == 0


WRITER = """
import itertools, pathlib, sys
import numpy as np
from es_xmodal.store.vectors import VectorStore, vector_key
def key(n): return vector_key(fingerprint="new", space="joint", kind="picture", content=str(n))
store = VectorStore.open(pathlib.Path(sys.argv[1]))
for n in itertools.count():
    store.put_many({key(n): np.full(512, n, np.float32)})
    assert store.get_many([key(n)])[0][0] == n
    print(n, flush=True)
    if sys.stdin.closed: break
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_store_that_another_process_has_open_is_not_compacted_and_collected_all_the_same(
    tmp_path: Path,
) -> None:
    fill(tmp_path, 50, encoder="old")
    with writer(tmp_path) as process, opened(tmp_path) as raw:
        done = collect(raw, Wish(of=frozenset({"old"})))
        assert done.entries == 50
        raw.close()
        with pytest.raises(StoreError, match="in use by another process") as caught:
            compact(tmp_path)
        assert caught.value.hint
        assert process.stdout
        last = int(process.stdout.readline())
        assert process.poll() is None
    with VectorStore.open(tmp_path) as store:  # killed in the middle: all that it was told is written
        values = store.get_many([key(n, "new") for n in range(last + 1)])
        assert [value[0] for value in values if value is not None] == list(range(last + 1))
        assert store.get_many([key(1, "old")]) == [None]
    compact(tmp_path)
    assert there(tmp_path, last + 1, "new") == list(range(last + 1))


def test_a_store_that_this_process_has_open_is_not_compacted(tmp_path: Path) -> None:
    with VectorStore.open(tmp_path), pytest.raises(StoreError, match="open in this process"):
        compact(tmp_path)


def test_who_opens_the_store_while_it_is_compacted_waits_for_the_new_file(tmp_path: Path) -> None:
    fill(tmp_path, 5, encoder="new")
    with compacting._alone(tmp_path):
        reader = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        compacting._copy(tmp_path / "data.mdb", tmp_path / "new")
        (tmp_path / "new").replace(tmp_path / "data.mdb")
        inode = (tmp_path / "data.mdb").stat().st_ino
    assert reader.stdout
    assert reader.stdout.readline() == "0\n"
    reader.kill()
    reader.communicate()
    assert (tmp_path / "data.mdb").stat().st_ino == inode
    assert 0 in there(tmp_path, 1, "new")
    with VectorStore.open(tmp_path) as store:
        assert store.get_many([key(0, "new")])[0] is not None
        assert store.stats().entries >= 5


def test_a_compaction_that_was_killed_left_nothing_in_the_way(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    (tmp_path / "compacted.mdb").write_bytes(b"half a file")
    compact(tmp_path)
    assert not (tmp_path / "compacted.mdb").exists()
    assert there(tmp_path, 5) == list(range(5))


def test_no_room_for_the_copy_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 5)

    def full(file: Path, new: Path) -> None:
        new.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compacting, "_copy", full)
    with pytest.raises(StoreError, match="No space left"):
        compact(tmp_path)
    assert not (tmp_path / "compacted.mdb").exists()
    assert there(tmp_path, 5) == list(range(5))


def test_the_second_table_finds_room_in_a_full_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_FIRST_MAP_BYTES", 64 * 1024)
    fill(tmp_path, 200)
    assert there(tmp_path, 200) == list(range(200))


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(home=tmp_path)


def test_the_command_says_and_does_it(cli: Cli, tmp_path: Path) -> None:
    assert cli.here("store", "status", "--json").json["vectors"]["entries"] == 0
    assert cli.here("store", "gc", "--older-than", "3", "--json").json["kept"] == 0
    vectors = tmp_path / "data/vectors"
    fill(vectors, 200, encoder="old")
    fill(vectors, 3, encoder="new")
    status = cli.here("store", "status", "--json").json["vectors"]
    assert (status["entries"], [one["fingerprint"] for one in status["by_owner"]]) == (203, ["old", "new"])
    shown = cli.here("store", "status")
    assert shown.code == 0
    assert "  old picture: 200 entries" in shown.out
    would = cli.here("store", "gc", "--encoder", "old", "--dry-run")
    assert would.out.startswith("would delete 200 vectors")
    assert cli.here("store", "gc", "--encoder", "old", "--json").json == {
        "deleted": 200,
        "deleted_bytes": 200 * SIZE,
        "kept": 3,
        "kept_bytes": 3 * SIZE,
        "dry_run": False,
    }
    done = cli.here("store", "compact", "--json").json["vectors"]
    assert done["after_bytes"] < done["before_bytes"]
    assert cli.here("store", "compact").out.startswith("vectors: ")
    assert cli.here("store", "gc", "--max-bytes", "5kB").out.startswith("deleted 1 vectors")


def test_check_exits_with_1_where_an_entry_is_damaged(cli: Cli, tmp_path: Path) -> None:
    vectors = tmp_path / "data/vectors"
    fill(vectors, 3)
    fine = cli.here("store", "check")
    assert (fine.code, fine.out) == (0, "vectors: 3 checked, all whole\ntexts: 0 checked, all whole\n")
    with opened(vectors) as raw:
        raw.put_many([(key(1), b"nonsense")])
    bad = cli.here("store", "check", "--json")
    assert (bad.code, bad.json["vectors"]) == (1, {"checked": 3, "damaged": 1})
    assert cli.here("store", "check").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gc"], "--older-than, --encoder, --keep-indices or --max-bytes"),
        (["gc", "--dry-run"], "say what may go"),
        (["gc", "--max-bytes", "much"], "no size"),
        (["gc", "--older-than", "-1"], "--older-than"),
        (["gc", "--older-than", "1", "--url", "http://localhost:1"], "--keep-indices"),
    ],
)
def test_a_wrong_call_is_one_line(cli: Cli, arguments: list[str], says: str) -> None:
    refused(cli.here("store", *arguments), WRONG, says)


def test_a_store_in_use_is_one_line(cli: Cli, tmp_path: Path) -> None:
    fill(tmp_path / "data/vectors", 1)
    with writer(tmp_path / "data/vectors"):
        refused(cli.here("store", "compact"), UNREACHABLE, "in use by another process")
