"""What a comparison has found, as Markdown."""

from collections.abc import Callable
from typing import Any


def print_tables(content: dict[str, Any], peers: dict[str, Any]) -> None:
    """Print a table for every problem of the results.

    Args:
        content: What `compare.py` has written.
        peers: The peers by the names that they have there.
    """
    seeds = sorted({result["seed"] for result in content["results"]})
    print(f"{content['machine']['processor']}, one core, {content['date'][:10]}; seeds {', '.join(map(str, seeds))}.")
    if content["clock"] == "processor":
        print("Seconds are those of the processor, for the machine was busy.")
    for problem in dict.fromkeys(result["problem"] for result in content["results"]):
        print(f"\n### {problem}\n")
        for line in table(content, problem, peers):
            print(line)


def table(content: dict[str, Any], problem: str, peers: dict[str, Any]) -> list[str]:
    """Return the lines of a problem's table; of several seeds a cell has one number after the other."""
    targets = content["targets"][problem]
    head = ["", "lines", "episodes before", "start", "steps/s"]
    head += [f"s to {_signed(target)}" for target in targets] + ["best return", "steps"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    results = [result for result in content["results"] if result["problem"] == problem]
    for name in dict.fromkeys(result["peer"] for result in results):
        of_seeds = [result for result in results if result["peer"] == name]
        if errors := [result["error"] for result in of_seeds if "error" in result]:
            lines.append(f"| {peers[name].name} | did not run: {errors[0]} |" + " |" * (len(head) - 2))
            continue
        cells = [peers[name].name, str(of_seeds[0]["lines"]), peers[name].before]
        for cell in (_start, _speed, *(_to(target) for target in targets), _best, _steps):
            cells.append(", ".join(cell(result) for result in of_seeds))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def steps_per_second(result: dict[str, Any]) -> float | None:
    """Return environment steps per second of sampling and learning, from the first update to the last."""
    updates = _of_kind(result, "update")
    if len(updates) < 2:
        return None
    return (updates[-1]["steps"] - updates[0]["steps"]) / (updates[-1]["seconds"] - updates[0]["seconds"])


def seconds_to(result: dict[str, Any], target: float) -> float | None:
    """Return the seconds of training before the first evaluation that has reached a return."""
    return next((e["seconds"] for e in _of_kind(result, "evaluation") if e["return"] >= target), None)


def _of_kind(result, kind):
    return [event for event in result["events"] if event["kind"] == kind]


def _start(result) -> str:
    updates = _of_kind(result, "update")
    return _with_again(updates[0]["seconds"], result) if updates else "–"


def _speed(result) -> str:
    speed = steps_per_second(result)
    return "–" if speed is None else f"{float(f'{speed:.2g}'):,.0f}"


def _to(target: float) -> Callable[[dict[str, Any]], str]:
    def cell(result):
        seconds = seconds_to(result, target)
        return f"> {result['limit']:.0f}" if seconds is None else _with_again(seconds, result)

    return cell


def _with_again(seconds: float, result: dict[str, Any]) -> str:
    """Tell seconds, and in brackets how many are left of them where nothing is to be compiled any more."""
    again, updates = result.get("start_again"), _of_kind(result, "update")
    if again is None or not updates:
        return f"{seconds:.0f}"
    return f"{seconds:.0f} ({seconds - updates[0]['seconds'] + again:.0f})"


def _best(result) -> str:
    found = [event["return"] for event in _of_kind(result, "evaluation")]
    return _signed(max(found)) if found else "–"


def _steps(result) -> str:
    return f"{max(event['steps'] for event in result['events']):,}"


def _signed(value: float) -> str:
    return f"{value:.0f}".replace("-", "−")
