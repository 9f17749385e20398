"""The tables of the README and the documentation that are made of stored records, written into the pages.

    python experiments/ablation/pages.py

A part of a page begins with `<!-- made by experiments/ablation/pages.py: NAME -->` and ends with `<!-- end -->`.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import kept_runs
import overview
from variants import LETTERS

from tesp.storage.files import write_whole

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "reproducing").glob("*.md"))]
PART = re.compile(r"(<!-- made by experiments/ablation/pages.py: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)

ablation = cache(partial(overview.families, ROOT / "experiments" / "records" / "ablation"))


def of_families(name: str, table: Callable[[overview.Family], str]) -> dict[str, Callable[[], str]]:
    """Return the parts that hold a table of the ablation, one for each family."""

    def of(family: str) -> Callable[[], str]:
        return lambda: table(ablation()[family])

    return {f"{name}, {family}": of(family) for family in ("point", "wheeled", "reacher2")}


#: What makes each part.
PARTS: dict[str, Callable[[], str]] = {
    **of_families("additions", overview.at_equal_updates),
    **of_families("equal seconds", overview.at_equal_seconds),
    **of_families("gains", overview.gains),
    "point": partial(kept_runs.adaptation, kept_runs.POINT),
    "with all they can have": lambda: overview.complete(ablation()),
    "in short, at equal seconds": lambda: overview.at_a_time(ablation(), ("none", "AC", "ABC")),
    "loss on every round, for long": partial(kept_runs.beside, kept_runs.LOSS),
    "small as it was": partial(kept_runs.course, "campaign/reacher2-tesp-small-a6bc659-seed100"),
    "bounded": kept_runs.bounded,
    "settled": kept_runs.settled,
    "longer": partial(kept_runs.longer, kept_runs.LONGER),
    "small": partial(kept_runs.longer, kept_runs.SMALL),
    "small, whole": partial(kept_runs.campaign, "reacher2"),
    "small, whole, wheeled": partial(kept_runs.campaign, "wheeled"),
    "small, whole, reacher4": partial(kept_runs.campaign, "reacher4"),
    "generality, reacher2": partial(kept_runs.generality, "reacher2"),
    "generality, wheeled": partial(kept_runs.generality, "wheeled"),
    "generality, reacher4": partial(kept_runs.generality, "reacher4"),
    "so far, reacher2": partial(kept_runs.so_far, "reacher2"),
    "ablations, reacher2": partial(kept_runs.ablations, "reacher2"),
    "objective, reacher2": partial(kept_runs.objective, "reacher2"),
    "objective, wheeled": partial(kept_runs.objective, "wheeled"),
    "cost": lambda: kept_runs.cost(ablation()),
    "step sizes": lambda: kept_runs.step_sizes({m: ablation()["reacher2"][m][x] for m, x in LETTERS.items()}),
    "rates": lambda: kept_runs.rates_gradient(
        {f: {m: ablation()[f][m][LETTERS[m]] for m in ("tesp", "meta-sgd")} for f in ("reacher2", "wheeled")}
    ),
}


def filled(text: str) -> str:
    """Return a page with its parts made anew.

    Raises:
        KeyError: There is no such part.
    """
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", text)


def main() -> None:
    """Write the pages whose parts have changed."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            write_whole(page, new)
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
