"""What the tests on CPython share: the Unix port's fork server, the environments, hypothesis' profiles."""

import lzma
import os
import tarfile
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

import hub_rig
import postgres_server
from batches import FakeGateway
from host_tools.base.unix_port import ForkServer
from hub_rig import Rig
from park import BUSY_MACHINE

ROOT = Path(__file__).resolve().parent.parent.parent
# The files that take longest begin first, or the last of them runs alone at the end. Those that wait for gateways in
# real time stand between those that keep a processor busy.
LONG = (
    "main_job", "unix_port", "consistency_hub", "flash", "dlt645_gateway", "failing_calls", "outage", "field_cases",
    "dlt645_scan", "workshop", "hub_web", "counter_events", "meters_scan", "provision", "firmware_names", "witness",
    "archive_verifiers", "hub_broker", "export_page", "commission", "journal_littlefs", "wheel",
)  # fmt: skip

# Of these files each test goes to whichever worker is free; of all others one worker takes the whole file. Their tests
# share no fixture, and most wait for gateways in real time: one after the other they took longer than all the rest.
SPREAD = {
    "main_job", "failing_calls", "field_cases", "outage", "workshop", "provision", "dlt645_gateway", "dlt645_scan",
    "meters_scan", "counter_events", "commission", "witness",
}  # fmt: skip

# httpx gives up after 5 s where a test says nothing else: a page that is slow beside other work is no failure.
for each in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, each, 20.0 * BUSY_MACHINE)

# No deadline: two cores are shared with whatever else runs. `make test` tries the same cases each time, so
# that it fails by a change of the code alone; `make fuzz` tries new ones.
settings.register_profile("test", deadline=None, derandomize=True)
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=5_000 * int(os.environ.get("PARKGATE_FUZZ_SIZE", "1")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("test")


def pytest_collection_modifyitems(items):
    """Put the tests of LONG first, each file's in their own order."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Spread the tests of the files in SPREAD over the workers; keep every other file on one."""
    from xdist.scheduler import LoadFileScheduling

    class Spreading(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if Path(file).stem.removeprefix("test_") in SPREAD else file

    return Spreading(config, log)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory):
    """What hubs remember outside their data folders stays here, also that of processes which tests start."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def unix_port():
    """Give the server that runs short programs on MicroPython's Unix port."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def cwt_python():
    """Give the Python of the environment that has the library cwt (it needs another cbor2 than ours)."""
    python = ROOT / "build" / "venv-cwt" / "bin" / "python"
    if not python.exists():
        pytest.skip("build/venv-cwt is missing: `make test` makes it")
    return python


@pytest.fixture(scope="session")
def dlt645_python():
    """Give the Python of the environment that has the library dlt645, a meter that is not ours."""
    python = ROOT / "build" / "venv-dlt645" / "bin" / "python"
    if not python.exists():
        pytest.skip("build/venv-dlt645 is missing: `make test` makes it")
    return python


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """Give a folder with the reference data, unpacked."""
    folder = tmp_path_factory.mktemp("reference")
    for packed in (ROOT / "tests" / "reference").glob("*.xz"):
        if packed.name.endswith(".tar.xz"):
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
        else:
            (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


# Modules whose tests run on both stores. What is about SQLite's file itself is marked `sqlite`.
ON_BOTH_STORES = {
    "test_bills", "test_export", "test_hub_evidence", "test_hub_intake", "test_hub_isolation", "test_hub_sums",
    "test_lots_index", "test_places", "test_retention",
}  # fmt: skip


def pytest_generate_tests(metafunc):
    name = metafunc.module.__name__.rpartition(".")[2]
    if name in ON_BOTH_STORES and metafunc.definition.get_closest_marker("sqlite") is None:
        metafunc.parametrize("store", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgresql():
    """Give a PostgreSQL server."""
    with postgres_server.server() as found:
        yield found


@pytest.fixture(autouse=True)
def store(request, monkeypatch):
    """Where new hubs keep their data in this test."""
    if getattr(request, "param", "sqlite") == "postgresql":
        monkeypatch.setattr(hub_rig, "new_server_database", request.getfixturevalue("postgresql").new)


@pytest.fixture
def rig(tmp_path):
    """Give a hub without broker and page."""
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


@pytest.fixture
def gateway(rig):
    """Give a gateway that the hub of `rig` knows."""
    gateway = FakeGateway(1)
    rig.enrol(gateway)
    return gateway
