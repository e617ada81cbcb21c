"""A driver of the job in a process of its own, without Ray and with a quick heartbeat, for tests of two drivers.

``python -m tests.support.plain_driver SECONDS ARGUMENTS...`` takes so long for every shard.
"""

import sys
import time

import pytest

from jobs import saliency
from jobs.run import claim
from tests.support.plain_pipeline import use_plain_pipeline

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:

        def wait(shard: int) -> None:
            print(f"shard {shard}", flush=True)
            time.sleep(float(sys.argv[1]))

        use_plain_pipeline(patch, wait)
        patch.setattr(claim, "HEARTBEAT_SECONDS", 0.2)
        sys.exit(saliency.main(sys.argv[2:]))
