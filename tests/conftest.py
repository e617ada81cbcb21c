import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from jobs.run import claim
from tests.support.means import skip_without
from tests.support.s3_server import S3Server, running_s3_server

# A loaded machine is no fault of what is tested.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# runs in a process of its own: importing Swift here would load eventlet into the process of the tests
collect_ignore = ["support/swift_service.py"]


@pytest.fixture(scope="session", autouse=True)
def patient_claims() -> Iterator[None]:
    """A driver stops that could not renew its claim for half a lease: on a busy machine that is no fault of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "LEASE_SECONDS", 600.0)
        yield


@pytest.fixture(scope="module", autouse=True)
def no_ray_is_left() -> Iterator[None]:
    """End the Ray that a module's jobs started: jobs of the next one that ask for more slots would wait for ever."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photographs that SALIENCY_REAL_DATA names."""
    folder = os.environ.get("SALIENCY_REAL_DATA")
    if folder is None:
        skip_without("photographs", "SALIENCY_REAL_DATA does not name a folder of photographs")
    return Path(folder)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole run; tests take buckets of their own with `make_bucket`."""
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
