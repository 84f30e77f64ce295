"""How a cluster is divided into workers, and what is said where there is none. Ray itself is a stand-in."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from es_xmodal.encoders.base import EncoderOptions
from es_xmodal.errors import MissingExtraError, SettingsError, WorkersError
from es_xmodal.ingest.remote import package as package_module
from es_xmodal.ingest.remote.package import load_again
from es_xmodal.ingest.remote.ray_cluster import RayCluster, RayOptions, one_line
from tests.support.cli import WRONG, Cli, refused
from tests.support.encoders import HashEncoder

pytestmark = pytest.mark.unit

GIB = 2**30


class FakeRay(SimpleNamespace):
    """A cluster of machines that this process is connected to already."""

    def __init__(self, *machines: dict[str, float]) -> None:
        self.machines = list(machines)
        self.stopped = False
        super().__init__()

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": str(at), "Alive": not one.get("dead"), "Resources": one}
            for at, one in enumerate(self.machines)
        ]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "0")

    def shutdown(self) -> None:
        self.stopped = True


def connected(monkeypatch: pytest.MonkeyPatch, ray: Any, **options: Any) -> RayCluster:
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace())
    return RayCluster(RayOptions(**options))


@pytest.mark.parametrize(
    ("machines", "workers", "gpus", "expected"),
    [
        # One machine: four cores a worker, one worker to begin with.
        ([{"CPU": 16}], None, 0, (1, None, 4, 4)),
        ([{"CPU": 2}], None, 0, (1, None, 2, 1)),
        # As many as asked for, on fewer cores each where they are few.
        ([{"CPU": 2}], 2, 0, (2, 2, 1, 2)),
        ([{"CPU": 2}], 9, 0, (2, 9, 1, 2)),
        ([{"CPU": 8}, {"CPU": 8}], 3, 0, (3, 3, 4, 3)),
        # No worker needs more cores than the smallest machine has; a head without cores counts for nothing.
        ([{}, {"CPU": 16}, {"CPU": 3}], None, 0, (1, None, 3, 6)),
        ([{"CPU": 16}, {"CPU": 16, "dead": 1}], None, 0, (1, None, 4, 4)),
        # One GPU each; machines without one have no part in it.
        ([{"CPU": 64}, {"CPU": 16, "GPU": 4}, {"CPU": 16, "GPU": 4}], None, 1, (1, None, 4, 8)),
        ([{"CPU": 4, "GPU": 4}], None, 1, (1, None, 1, 4)),
        ([{"CPU": 16, "GPU": 1}], 1, 1, (1, 1, 16, 1)),
    ],
)
def test_workers_of_a_cluster(
    monkeypatch: pytest.MonkeyPatch,
    machines: list[dict[str, float]],
    workers: int | None,
    gpus: int,
    expected: tuple[Any, ...],
) -> None:
    cluster = connected(monkeypatch, FakeRay(*machines), workers=workers)
    found = cluster.machines(gpus)
    assert (found.least, found.most, found.cpus, cluster.slots(found)) == expected
    assert found.gpus == gpus


@pytest.mark.parametrize(("machines", "gpus", "says"), [([{"CPU": 4}], 1, "a GPU"), ([{}], 0, "a core")])
def test_no_room_for_a_worker(
    monkeypatch: pytest.MonkeyPatch, machines: list[dict[str, float]], gpus: int, says: str
) -> None:
    with pytest.raises(WorkersError, match=says):
        connected(monkeypatch, FakeRay(*machines)).machines(gpus)


def test_machines_that_join_later_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay({"CPU": 4})
    cluster = connected(monkeypatch, ray)
    machines = cluster.machines(0)
    assert cluster.slots(machines) == 1
    ray.machines.append({"CPU": 8})
    cluster._asked_at = -1e9
    assert cluster.slots(machines) == 3


def test_the_object_store_is_that_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay({"CPU": 4, "object_store_memory": GIB}, {"CPU": 4, "object_store_memory": 9 * GIB})
    assert connected(monkeypatch, ray).store_bytes() == GIB


def test_a_connection_that_was_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay({"CPU": 4})
    with connected(monkeypatch, ray):
        pass
    assert not ray.stopped


def test_ray_client_is_refused() -> None:
    with pytest.raises(SettingsError, match="Ray Client") as caught:
        RayCluster(RayOptions(address="ray://head:10001"))
    assert "--ray-address auto" in caught.value.hint


def test_the_address_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(SettingsError, match="ray://head"):
        RayCluster(RayOptions())


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as caught:
        RayCluster(RayOptions())
    assert "es-xmodal[ray]" in caught.value.hint


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> None:
        raise ConnectionError("could not connect\n\nRay cannot be found\n")

    ray = FakeRay()
    ray.is_initialized = lambda: False  # type: ignore[method-assign]
    ray.init = init
    out = sys.stdout
    with pytest.raises(WorkersError, match=r"no cluster answers at auto: Ray cannot be") as caught:
        connected(monkeypatch, ray, address="auto")
    assert "ray start --head" in caught.value.hint
    assert ray.stopped
    assert sys.stdout is out


def test_control_c_while_ray_starts_puts_everything_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def init(**options: Any) -> None:
        assert options["_temp_dir"].startswith(str(tmp_path))
        assert options["_node_ip_address"] == "127.0.0.1"
        raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = FakeRay()
    ray.is_initialized = lambda: False  # type: ignore[method-assign]
    ray.init = init
    out = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        connected(monkeypatch, ray)
    assert ray.stopped
    assert sys.stdout is out
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_listens_ray_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ray = FakeRay()
    ray.is_initialized = lambda: False  # type: ignore[method-assign]
    with pytest.raises(WorkersError, match=f"no cluster answers at {address}: .*refused"):
        connected(monkeypatch, ray, address=address)


def test_an_error_of_ray_comes_down_to_its_last_line() -> None:
    assert one_line(RuntimeError("ray::Embed\n  File x\nValueError: bad\n\n")) == "ValueError: bad"
    assert (
        one_line(RuntimeError("ValueError: bad\n\nTo change retries, configure this: that"))
        == "ValueError: bad"
    )
    wrapped = "ray::MapWorker()\nValueError: bad\nray.exceptions.UserCodeException: UDF failed"
    assert one_line(RuntimeError(wrapped)) == "ValueError: bad"
    assert one_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("device", "gpu", "expected"),
    [("auto", False, "cpu"), ("auto", True, "auto"), ("cuda:3", True, "cuda"), ("cuda:3", False, "cpu")],
)
def test_a_worker_loads_the_encoder_for_what_it_has(
    monkeypatch: pytest.MonkeyPatch, device: str, gpu: bool, expected: str
) -> None:
    asked: list[EncoderOptions] = []

    def load(spec: str, options: EncoderOptions) -> HashEncoder:
        assert spec == "mini"
        asked.append(options)
        return HashEncoder()

    monkeypatch.setattr(package_module, "load_encoder", load)
    load_again("mini", EncoderOptions(device=device, batch_size=7), 3, gpu)
    load_again("mini", EncoderOptions(device=device, threads=2), 3, gpu)
    assert [(one.device, one.threads, one.batch_size) for one in asked] == [
        (expected, 3, 7),
        (expected, 2, None),
    ]


@pytest.mark.parametrize("option", [("--ray-address", "auto"), ("--ray-workers", "2"), ("--ray-gpus", "1")])
def test_options_of_ray_need_the_engine(tmp_path: Path, option: tuple[str, str]) -> None:
    shop = Cli(home=tmp_path, options=("--url", "http://127.0.0.1:1"))
    refused(shop.here("ingest", "catalog.jsonl", *option), WRONG, option[0], "without --engine ray")
