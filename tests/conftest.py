"""What all tests share: where the real files are, and that nothing is skipped where everything must run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.contract.diracx import working
from tests.support.inputs.keys import Circle
from tests.support.services import diracx_service
from tests.support.services.postgresql import Server, find_programs, serving
from tests.support.services.slurm_cluster import PACKAGES, Cluster, list_missing, using
from tests.support.worlds import worlds
from tests.support.worlds.production_model import Production, Template
from tests.support.worlds.signable_checkout import SignableCheckout

# A suite that was started in the background, or by nohup, hears no Ctrl-C and no end of a terminal; what it starts must,
# since tests send them.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)

# The suite starts thousands of processes: each would compile everything anew where the environment forbids to keep it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Ledgers and results are synced to the disk hundreds of times in a test: in memory, where there is room, that takes no time.
MEMORY, NEEDED = "/dev/shm", 4 << 30
if os.access(MEMORY, os.W_OK | os.X_OK):
    room = os.statvfs(MEMORY)
    if room.f_bavail * room.f_frsize >= NEEDED and not room.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)  # pytest makes a private folder in it

# A loaded machine must not fail a property test; times are measured where they matter. In CI a commit has one verdict:
# what properties have not met yet is looked for where people work.
settings.register_profile("b2prod", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("b2prod")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files beside the checkout; what is in it is read only."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        # without the real files the rest can be tried; in CI a skip is a failure
        pytest.skip(f"the folder of real files is missing: {folder}")
    return folder


@pytest.fixture(scope="session")
def circle(tmp_path_factory) -> Circle:
    """People with real keys."""
    return Circle(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signable(tmp_path, circle) -> SignableCheckout:
    """A repository with a reconciler beside it, whose campaign these people approve."""
    return SignableCheckout(tmp_path, circle)


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Template:
    """What simulated productions begin from."""
    return Template(tmp_path_factory.mktemp("template"))


@pytest.fixture(params=[True, False], ids=["shared", "fetched"])
def production(request, template, monkeypatch) -> Iterator[Production]:
    """A simulated production at a batch system, which shares its folders or has its results fetched."""
    production = Production(template, monkeypatch, shared=request.param, attached=False)
    yield production
    production.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A real PostgreSQL."""
    programs = find_programs()
    if programs is None:
        # as above
        pytest.skip("there is no PostgreSQL; install Debian's package `postgresql`")
    with serving(programs) as server:
        yield server


@pytest.fixture(scope="session")
def shared_tmp(tmp_path_factory) -> Path:
    """A folder that all workers of a test run see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def slurm(shared_tmp) -> Iterator[Cluster]:
    """A real Slurm with accounting, the same one for all workers."""
    if missing := list_missing():
        # as above
        pytest.skip(f"there is no {missing[0]}; install Debian's packages {PACKAGES}")
    with using(shared_tmp) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def diracx(shared_tmp) -> Iterator[diracx_service.Services]:
    """The real services of DiracX, the same ones for all workers."""
    if missing := diracx_service.list_missing():
        # as above
        pytest.skip(f"what is missing: {missing[0]}")
    with diracx_service.using(shared_tmp) as services:
        yield services


@pytest.fixture(scope="session")
def diracx_worker(diracx, tmp_path_factory) -> Iterator[Path]:
    """A worker node of the grid: the folder in which tests say whose jobs it is to run."""
    with working(diracx, tmp_path_factory.mktemp("node")) as rooms:
        yield rooms


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, monkeypatch) -> str | None:
    """Worlds and command lines keep their state in a file, and then in PostgreSQL: its address."""
    if request.param == "sqlite":
        return None
    address = request.getfixturevalue("postgresql").create_database()
    monkeypatch.setattr(worlds, "SERVER", address)
    monkeypatch.setenv("B2PROD_DATABASE", address)
    return address


@pytest.fixture
def bound():
    """What waits for ever is a failure, and not the end of all tests."""

    def stop(_number, _frame):
        raise AssertionError("this waits for something")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


RUNNING = {
    f"tests.support.worlds.{name}"
    for name in (
        "command_lines",
        "command_world",
        "signable_checkout",
        "lost_ledgers",
        "production_model",
        "script_world",
        "skim_checkout",
        "slurm_campaign",
        "worlds",
    )
}
"""Modules of worlds in which jobs run or commands are called: a second or more for each test."""
SERVICES = {"diracx", "postgresql", "production", "signable", "slurm"}
"""Fixtures that start as much."""


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Tests whose module uses such a world are `slow` but for those marked `quick`; whole stories begin first, and end last."""
    uses: dict[object, bool] = {}
    for item in items:
        module = getattr(item, "module", None)
        if module not in uses:
            uses[module] = any(getattr(one, "__module__", None) in RUNNING for one in vars(module).values())
        if (uses[module] or SERVICES & {*item.fixturenames}) and not item.get_closest_marker("quick"):
            item.add_marker("slow")
    items.sort(key=lambda item: "stories" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped test has failed: everything is there, or the CI script is wrong."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report
