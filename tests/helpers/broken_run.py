"""A `tesp` command to which something happens at a chosen moment.

Run as ``python -m helpers.broken_run kill_while_sampling|kill_while_storing|wait_while_sampling COMMAND…``.
"""

import os
import signal
import sys
import time

from orbax.checkpoint._src.path import atomicity

import tesp.episodes.rollout
from tesp.cli import main

#: Rounds of a meta-update of the tiny run, and of its first evaluation on three task sets.
ROUNDS = 5
#: The meta-update that does not come to its end, and the checkpoint that does not: the one after, so that a resumed run
#: that is killed again leaves something that it has computed.
META_UPDATE, CHECKPOINT = 3, 4


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def wait():
    """Tell the parent, and wait for its signal."""
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    time.sleep(300)


def while_sampling(happen):
    """Make something happen in the third round of meta-update 3: after two evaluations and two meta-updates."""
    collect, calls = tesp.episodes.rollout.collect, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2 * 3 * ROUNDS + (META_UPDATE - 1) * ROUNDS + 3:
            happen()
        return collect(*arguments)

    tesp.episodes.rollout.collect = interrupted


def while_storing(happen):
    """Make something happen when a checkpoint is written but not yet in its place."""
    finalize = atomicity.AtomicRenameTemporaryPath.finalize

    async def interrupted(self):
        if self.get_final().name == str(CHECKPOINT):
            happen()
        await finalize(self)

    atomicity.AtomicRenameTemporaryPath.finalize = interrupted


if __name__ == "__main__":
    # A shell that starts pytest in the background has Ctrl-C ignored, here too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    what, *command = sys.argv[1:]
    {
        "kill_while_sampling": lambda: while_sampling(kill),
        "kill_while_storing": lambda: while_storing(kill),
        "wait_while_sampling": lambda: while_sampling(wait),
    }[what]()
    sys.exit(main(command))
