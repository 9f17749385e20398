"""Where the gradient of the learned rates points, epoch by epoch of the meta-updates: a short training that is watched.

    python experiments/rates_by_epoch.py half-cheetah-velocity-v1 --seed 10 --meta-updates 30

For every epoch it prints, in the mean over blocks of meta-updates, the cosine of the angle between its gradient of the
rates α and that of the first epoch, which is taken where the episodes were sampled; and the rates after the last
meta-update of a block. Step sizes fall as in any run of so many meta-updates.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree

from tesp import runs
from tesp.adaptation.contributions import Contributions
from tesp.config import override, preset_config
from tesp.methods.gradient import method
from tesp.report.records import read_run


class Watched(Contributions):
    """Passes questions on and keeps the gradients of the rates, (epoch, entry)."""

    def __init__(self, inner: Contributions):
        self.count, self._inner, self.gradients = inner.count, inner, []

    def ask(self, question, given):
        """Ask, and keep what is asked about here."""
        answer = self._inner.ask(question, given)
        if question == "gradient":
            gradient = ravel_pytree(given[0])[1](answer.summed)
            leaves = jax.tree.leaves(gradient.rates)
            self.gradients.append(np.concatenate([np.ravel(x) for x in leaves]).astype(np.float64))
        return answer


def cosines(gradients: list[np.ndarray]) -> np.ndarray:
    """Return the cosine of every epoch's gradient with that of the first, (epoch,)."""
    matrix = np.array(gradients)
    norms = np.linalg.norm(matrix, axis=1)
    with np.errstate(invalid="ignore"):
        return matrix @ matrix[0] / (norms * norms[0])


def main(
    family: Annotated[str, tyro.conf.Positional],
    algorithm: str = "tesp",
    preset: str = "quick",
    seed: int = 10,
    meta_updates: int = 30,
    block: int = 10,
    rates_gradient: Literal["every_epoch", "first_epoch"] = "every_epoch",
) -> None:
    """Train shortly and print the table.

    Args:
        family: The family.
        algorithm: A method that learns its rates.
        preset: The preset.
        seed: The seed.
        meta_updates: How many.
        block: Meta-updates that are averaged in a row.
        rates_gradient: As the option of `tesp train`.
    """
    schedule = {"meta_updates": meta_updates, "evaluate_every": meta_updates, "evaluation_tasks": 1}
    config = override(preset_config(family, preset, algorithm), rates_gradient=rates_gradient, **schedule)
    found: list[np.ndarray] = []
    original = method.meta_update

    def watching(contributions, *others):
        watched = Watched(contributions)
        updated = original(watched, *others)
        found.append(cosines(watched.gradients))
        return updated

    # For the rest of this process, which ends with the table.
    method.meta_update = watching
    with tempfile.TemporaryDirectory() as folder:
        runs.train(dataclasses.replace(config, seed=seed), Path(folder) / "run")
        trained = read_run(Path(folder) / "run").records["train"]
    epochs = range(1, len(found[0]) + 1)
    print(f"| meta-updates | {' | '.join(map(str, epochs))} | mean of the rates' size | negative |")
    print(f"|{'---|' * (len(epochs) + 3)}")
    for start in range(0, meta_updates, block):
        rows = np.array(found[start : start + block])
        last = trained[min(start + block, meta_updates) - 1]
        cells = " | ".join(f"{x:.2f}" for x in np.nanmean(rows, axis=0))
        rates = f"{last['mean_absolute_rate']:.3f} | {last['share_of_negative_rates']:.0%}"
        print(f"| {start + 1}–{start + len(rows)} | {cells} | {rates} |")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
