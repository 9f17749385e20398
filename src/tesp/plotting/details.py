"""What the figures of a run's details have in common: which records they are of, and what they say of them."""

from collections.abc import Sequence

from tesp.errors import ConfigurationError
from tesp.plotting import style
from tesp.plotting.records import Record


def tasks_by_set(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of kind ``task`` by task set, in the order D, D′, D″; sets without a task are left out.

    Raises:
        ConfigurationError: There is none.
    """
    tasks = [record for record in records if record["kind"] == "task"]
    if not tasks:
        raise ConfigurationError("There is no record of a single task to draw; `tesp plot RUN` makes them.")
    sets = {name: [record for record in tasks if record["task_set"] == name] for name in style.TASK_SETS}
    return {name: own for name, own in sets.items() if own}


def has_paths(records: Sequence[Record]) -> bool:
    """Tell whether the tasks have paths in the plane."""
    return any(record["kind"] == "task" and record["path"] is not None for record in records)


def has_embeddings(records: Sequence[Record]) -> bool:
    """Tell whether the tasks have embeddings."""
    return any(record["kind"] == "task" and record["embedding"]["after"] is not None for record in records)


def learned_rates(records: Sequence[Record]) -> list[Record]:
    """Return the records of rates that the meta-updates have learned, one for each layer."""
    return [record for record in records if record["kind"] == "rates" and record["learned"]]


def origin(record: Record) -> str:
    """Say in words which meta-learner a record is of."""
    algorithm = style.ALGORITHMS.get(record["algorithm"], record["algorithm"])
    return f"{algorithm} on {record['family']}, seed {record['seed']}, after {record['meta_update']} meta-updates"


def after(fast_updates: int) -> str:
    """Say in words after how many fast-updates."""
    return f"after {fast_updates} fast-update{'' if fast_updates == 1 else 's'}"
