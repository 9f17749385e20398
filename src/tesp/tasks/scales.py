"""Values that the presets of all families share."""

from collections.abc import Mapping
from typing import Any

#: What the preset `paper` has besides the library's defaults.
PAPER: dict[str, Any] = {"round_budget": "steps"}

#: How to learn at small scale: the step size finds itself, rates take small steps, all rounds are trained on, and the
#: embedding modulates the policy of methods that have one. The same for every method.
LEARNING: dict[str, Any] = {
    "learning_rate": 2e-3,
    "learning_rate_schedule": "adaptive",
    "judge_last_epoch": True,
    "early_loss_weight": 0.3,
    "initial_rate": 0.05,
    "rates_step": 0.1,
    "project_rates": True,
    "embedding_penalty": 0.02,
    "conditioning": "modulate",
}

#: Small sizes, with which a family trains in minutes.
QUICK: dict[str, Any] = {
    **LEARNING,
    "policy_units": (64, 64),
    "encoder_units": 64,
    "episodes_per_round": 10,
    "buffer_size": 6,
    "epochs": 10,
    "meta_updates": 100,
    "evaluate_every": 20,
    "evaluation_tasks": 40,
}

#: The same sizes, trained until the curves are flat.
SMALL: dict[str, Any] = {
    **QUICK,
    "meta_updates": 300,
    "evaluate_every": 25,
    "evaluation_tasks": 0,
    "parameter_average": 0.9,
}


def make_presets(
    *,
    units: tuple[int, int],
    encoder: int,
    embedding: int,
    penalty: float,
    scaled: Mapping[str, Any] | None = None,
    quick: Mapping[str, Any] | None = None,
    small: Mapping[str, Any] | None = None,
    paper_algorithms: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return a family's presets ``paper``, ``quick`` and ``small``.

    Args:
        units: Units of the policy's hidden layers in ``paper``.
        encoder: Units of the encoder there.
        embedding: d there, and where nothing else is said.
        penalty: η in ``paper``.
        scaled: What the family changes of `QUICK` and `SMALL`.
        quick: Likewise of ``quick`` alone.
        small: Likewise of ``small`` alone.
        paper_algorithms: Values of single algorithms in ``paper``.
    """
    paper = {
        **PAPER,
        "policy_units": units,
        "encoder_units": encoder,
        "embedding_size": embedding,
        "embedding_penalty": penalty,
        "algorithms": dict(paper_algorithms or {}),
    }
    both = {"embedding_size": embedding, "horizon": 100, **(scaled or {})}
    return {
        "paper": paper,
        "quick": {**QUICK, **both, **(quick or {})},
        "small": {**SMALL, **both, **(small or {})},
    }
