"""Two meta-updates on however many devices there are; prints their number and saves the results.

Run as ``python -m helpers.meta_update_on_devices results.npz``.
"""

import sys

import numpy as np

from helpers.learners import GOALS, first_meta_updates, make_learner
from helpers.trees import named_leaves
from tesp.adaptation.task_axis import task_mesh


def results(learner):
    """Everything that two meta-updates compute, as a flat dictionary of arrays."""
    adaptation, updated = first_meta_updates(learner, 2)
    kept = (updated.parameters, updated.optimiser_state, updated.terms, updated.gradient_norms)
    last = adaptation.rounds[-1]
    sampled = (adaptation.progress.belief, last.round, last.outcomes.average_return)
    return dict(named_leaves({"kept": kept, "sampled": sampled}))


if __name__ == "__main__":
    np.savez(sys.argv[1], **results(make_learner()))
    sys.stdout.write(f"{task_mesh(len(GOALS)).size}\n")
