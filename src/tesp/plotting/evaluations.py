"""Choose among a run's evaluations."""

from tesp.errors import ConfigurationError, RunFolderError
from tesp.plotting.records import Record, Run


def fast_updates_of(run: Run) -> int:
    """Return K, the greatest number of fast-updates that the run was evaluated after.

    Raises:
        RunFolderError: The run has no evaluation.
    """
    return max(fast_update for _, _, fast_update in _evaluations(run))


def evaluation_at(run: Run, meta_update: int | None = None) -> tuple[int, dict[str, dict[int, Record]]]:
    """Return a meta-update and its evaluation: task set → fast-update → record.

    Args:
        run: The run.
        meta_update: Which evaluation; None for the last one that is complete. A run that was stopped while
            it evaluated leaves some task sets or fast-updates out.

    Raises:
        RunFolderError: The run has no evaluation.
        ConfigurationError: The run was not evaluated at ``meta_update``.
    """
    evaluations = _evaluations(run)
    found: dict[int, set[tuple[str, int]]] = {}
    for update, task_set, fast_update in evaluations:
        found.setdefault(update, set()).add((task_set, fast_update))
    if meta_update is None:
        most = max(len(parts) for parts in found.values())
        meta_update = max(update for update, parts in found.items() if len(parts) == most)
    if meta_update not in found:
        raise ConfigurationError(
            f"meta_update = {meta_update} was not evaluated in run {run.name!r}; give one of "
            f"{', '.join(map(str, sorted(found)))}."
        )
    chosen: dict[str, dict[int, Record]] = {}
    for task_set, fast_update in sorted(found[meta_update]):
        chosen.setdefault(task_set, {})[fast_update] = evaluations[meta_update, task_set, fast_update]
    return meta_update, chosen


def _evaluations(run: Run) -> dict[tuple[int, str, int], Record]:
    evaluations = run.evaluations()
    if not evaluations:
        raise RunFolderError(
            f"Run {run.name!r} holds no evaluation, so there is nothing to show; let it run until it has one."
        )
    return evaluations
