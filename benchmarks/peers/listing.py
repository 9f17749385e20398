"""Who is compared: which interpreter runs which script, and which of its lines a user has to write."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent

#: What only measures, in all scripts.
MEASURING = ("Measure", "Watch", "arguments")


@dataclass(frozen=True)
class Peer:
    """A library with a method.

    Attributes:
        name: What it is called in tables.
        script: What trains it, in this folder.
        method: Which method of the script, if it has several.
        environment: Folder of its virtual environment; None: the interpreter that runs the comparison.
        before: Episodes of a task before the one that is judged.
        compiles: Whether what it compiles can be kept from one run to the next.
        written: What a user writes besides the script, by problem: files, and the classes of these that are meant.
    """

    name: str
    script: str
    before: str
    method: str | None = None
    environment: str | None = None
    compiles: bool = False
    written: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    def lines(self, problem: str) -> int:
        """Lines of code that a user writes to train this on a problem."""
        files = {self.script: (), **self.written[problem]}
        return sum(lines_of(FOLDER / name, only) for name, only in files.items())


def lines_of(path: Path, only: tuple[str, ...] = ()) -> int:
    """Count lines of code: no blank ones, comments and docstrings, and nothing that only measures.

    Args:
        path: A Python file.
        only: Names of the classes and functions that are counted; empty: all of the file.
    """
    text = path.read_text(encoding="utf-8")
    kept = [node for node in ast.parse(text).body if _counts(node, only)]
    left_out = set()
    for node in (inner for outer in kept for inner in ast.walk(outer)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    numbers = {n for node in kept for n in range(_first(node), (node.end_lineno or node.lineno) + 1)} - left_out
    lines = text.splitlines()
    return sum(1 for n in numbers if lines[n - 1].strip() and not lines[n - 1].strip().startswith("#"))


def _counts(node: ast.stmt, only: tuple[str, ...]) -> bool:
    name = getattr(node, "name", None)
    return name in only if only else name not in MEASURING


def _first(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


#: What users of the peers write of each problem, and for RL² besides.
_AS_ENVIRONMENT = {
    "navigation": {"problems.py": ("Navigation",)},
    "half-cheetah-velocity": {"problems.py": ("HalfCheetahVelocity",)},
}
_AS_TRIALS = {problem: {"problems.py": (*of["problems.py"], "Trial")} for problem, of in _AS_ENVIRONMENT.items()}
_AS_FAMILY = {"navigation": {"navigation.py": ()}, "half-cheetah-velocity": {}}

PEERS = {
    "tesp-rl2": Peer("tesp, RL²", "tesp_methods.py", "1", "rl2", compiles=True, written=_AS_FAMILY),
    "tesp-maml": Peer("tesp, MAML", "tesp_methods.py", "20", "maml", compiles=True, written=_AS_FAMILY),
    "tesp-tesp": Peer("tesp, TESP", "tesp_methods.py", "4 rounds", "tesp", compiles=True, written=_AS_FAMILY),
    "sb3": Peer("sb3-contrib, RecurrentPPO as RL²", "sb3_rl2.py", "1", environment="sb3", written=_AS_TRIALS),
    "sample-factory": Peer(
        "Sample Factory, APPO as RL²", "sample_factory_rl2.py", "1", environment="sample-factory", written=_AS_TRIALS
    ),
    "torchopt": Peer("TorchOpt, MAML", "torchopt_maml.py", "20", environment="torchopt", written=_AS_ENVIRONMENT),
}
