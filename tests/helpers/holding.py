"""Hold a lock until the process is ended: ``python -m helpers.holding FILE``."""

import sys
import time

from filelock import FileLock

with FileLock(sys.argv[1]):
    print("held", flush=True)  # noqa: T201
    time.sleep(300)
