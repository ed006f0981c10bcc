"""Settings for all tests: the same choices and surroundings in every run, and no test left out."""

import os
import random
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests import chances

SURROUNDINGS = (
    "COLUMNS",
    "CREDENTIALS_DIRECTORY",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "JOURNAL_STREAM",
    "LINES",
    "NOTIFY_SOCKET",
    "NO_COLOR",
    "P2PNODE_HOME",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "WAYLAND_DISPLAY",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
)
"""What a node, or what it shows, goes by: none of it comes from whoever runs the tests."""

SHORT = 32
"""Characters of the directory for temporary files that leave room for a test's own directories and
a socket's name, of which there are 107."""

for one in SURROUNDINGS:
    os.environ.pop(one, None)
if len(tempfile.gettempdir()) > SHORT and os.access("/tmp", os.W_OK):
    os.environ["TMPDIR"], tempfile.tempdir = "/tmp", None
os.umask(0o022)

# What a shell runs in the background it tells to ignore Ctrl-C, and so all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "project",
    deadline=None,
    print_blob=True,
    derandomize=not chances.FRESH,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # it is the machine that is
)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _arranged(request: pytest.FixtureRequest) -> None:
    """Let nothing that is drawn depend on the tests before this one."""
    chances.arrange(request.node.nodeid)
    random.seed(f"{chances.SEED} {request.node.nodeid}")


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The random choices of a test. Another seed shows other ones: make random SEED=…"""
    print(f"TEST_SEED={chances.SEED}")
    return chances.source(request.node.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In continuous integration nothing may be skipped: that machine can run everything."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("skipped tests count as failures here", red=True)
