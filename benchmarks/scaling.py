"""Time and memory of a meta-update against its sizes: tasks, episodes, horizon and GRU units.

    python benchmarks/scaling.py [--family wheeled] [--repetitions 3] [--json FILE] [--figure FILE]

One size at a time is doubled three times, the others stay at a modest base; M grows in proportion to N. Every point
has a process of its own, in which the first meta-update compiles and the median of those after it counts. Points that
several sizes share are measured once. Two kinds of memory are told:

- the process's peak, beside that of a process that only imports everything and starts JAX; at these sizes most of it
  is what compiling the programs takes, which hardly grows with any size;
- that of a meta-update: by how much the peak of the later ones exceeds what was resident before them (Linux only).

The exponents are slopes of straight lines fitted to the logarithms, over all points and over the last two: 1 is
proportional growth, less means that a part does not grow with the size. Nothing else should run on the machine.
"""

import argparse
import json
from pathlib import Path

from measuring import (
    Report,
    add_common_options,
    check_count,
    configuration,
    in_own_process,
    median,
    meta_updates,
    overrides_of,
    peak_memory,
    print_head,
    print_row,
    restart_peak,
    run,
)

#: What stays where another size is doubled.
BASE = {
    "tasks_per_update": 10,
    "episodes_per_round": 10,
    "buffer_size": 6,
    "horizon": 100,
    "encoder_units": 128,
    "epochs": 10,
}

#: The doubled sizes: by name, the values of the configuration at every point.
SIZES = {
    "tasks": [{"tasks_per_update": value} for value in (5, 10, 20, 40)],
    "episodes": [{"episodes_per_round": n, "buffer_size": m} for n, m in ((5, 3), (10, 6), (20, 12), (40, 24))],
    "horizon": [{"horizon": value} for value in (25, 50, 100, 200)],
    "units": [{"encoder_units": value} for value in (64, 128, 256, 512)],
}

#: What exponents are fitted to.
QUANTITIES = {"time": "seconds", "peak_above_imports": "bytes_above_imports", "memory_of_an_update": "update_bytes"}

_LABELS = {"tasks": "tasks", "episodes": "episodes N (and M)", "horizon": "horizon H", "units": "GRU units"}


def main() -> None:
    """Measure all points, print and store them, fit the exponents and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="wheeled")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="SIZE", help=", ".join(SIZES))
    parser.add_argument("--figure", metavar="FILE", help="draw the results into this picture")
    add_common_options(parser, repetitions=3)
    arguments = parser.parse_args()
    tasks = _checked(arguments)
    report = Report(arguments.json, "scaling")
    imports = in_own_process(__file__, {"imports_only": True})["peak_bytes"]
    report.content |= {"family": arguments.family, "preset": arguments.preset, "imports_bytes": imports}
    print(f"A process that only imports has a peak of {imports / 2**20:.0f} MB.", flush=True)
    columns = ("size", "value", "seconds", "CPU-s", "steps", "peak MB", "above imports, MB", "of an update, MB")
    print_head(f"A meta-update of {arguments.family}", columns)
    known: dict[str, dict] = {}
    for task in tasks:
        same = json.dumps(task["overrides"], sort_keys=True)
        if same not in known:
            known[same] = in_own_process(__file__, task)
        point = {"size": task["size"], "value": task["value"], "overrides": task["overrides"], **known[same]}
        point["bytes_above_imports"] = max(point["peak_bytes"] - imports, 0)
        report.add(point)
        _print_point(point)
    fits = {name: _fit([p for p in report.content["results"] if p["size"] == name]) for name in arguments.sizes}
    report.content["exponents"] = fits
    report.write()
    _print_fits(fits)
    if arguments.figure:
        _draw(report.content, Path(arguments.figure))


def _checked(arguments: argparse.Namespace) -> list[dict]:
    """Return the points to measure, or refuse all of it before anything is measured."""
    from tesp.building import build_family, build_learner
    from tesp.errors import ConfigurationError
    from tesp.report.figures.style import check_output

    check_count("repetitions", arguments.repetitions)
    for name in arguments.sizes:
        if name not in SIZES:
            raise ConfigurationError(f"There is no size {name!r}; known are: {', '.join(SIZES)}.")
    if arguments.figure and not check_output(arguments.figure).resolve().parent.is_dir():
        raise ConfigurationError(f"{arguments.figure} cannot be written; give a file in a folder that exists.")
    given, tasks = overrides_of(arguments.set), []
    for name in arguments.sizes:
        for values in SIZES[name]:
            overrides = {**BASE, **given, **values}
            config = configuration(arguments.family, arguments.preset, overrides)
            build_learner(config, build_family(config))
            task = {"family": arguments.family, "preset": arguments.preset, "overrides": overrides}
            value = next(iter(values.values()))
            tasks.append({**task, "size": name, "value": value, "repetitions": arguments.repetitions})
    return tasks


def _work(task: dict) -> dict:
    """Time meta-updates after the first, or see how much memory the imports take."""
    if task.get("imports_only"):
        import tesp

        tesp.use_all_cores()
        import jax

        jax.block_until_ready(jax.numpy.zeros(1))
        return {"peak_bytes": peak_memory()}
    updates = meta_updates(configuration(task["family"], task["preset"], task["overrides"]))
    first = next(updates)
    compiling, before = peak_memory(), restart_peak()
    records = [next(updates) for _ in range(task["repetitions"])]
    return {
        **{name: median(record[name] for record in records) for name in ("seconds", "cpu_seconds", "steps_sampled")},
        "first_seconds": first["seconds"],
        "all_seconds": [record["seconds"] for record in records],
        "peak_bytes": max(compiling, peak_memory()),
        "update_bytes": None if before is None else peak_memory() - before,
    }


def _fit(points: list[dict]) -> dict[str, dict[str, float | None]]:
    """Exponents of time and memory, over all points and over the last two."""
    return {
        name: {"all": _slope(points, key), "last_two": _slope(points[-2:], key)} for name, key in QUANTITIES.items()
    }


def _slope(points: list[dict], key: str) -> float | None:
    """Slope of the straight line of least squares through the logarithms, if all points have one."""
    import numpy as np

    if not all(point[key] for point in points):
        return None
    x, y = (np.log([point[name] for point in points]) for name in ("value", key))
    return float(np.polyfit(x, y, 1)[0])


def _print_point(point: dict) -> None:
    sizes = (point["peak_bytes"], point["bytes_above_imports"], point["update_bytes"])
    memory = ("–" if size is None else f"{size / 2**20:.0f}" for size in sizes)
    times = f"{point['seconds']:.2f}", f"{point['cpu_seconds']:.2f}"
    print_row(point["size"], str(point["value"]), *times, f"{point['steps_sampled']:,.0f}", *memory)


def _print_fits(fits: dict) -> None:
    names = [name.replace("_", " ") for name in QUANTITIES]
    print_head("Exponents", ("size", *(f"{name}, {points}" for name in names for points in ("all", "last two"))))
    for name, fit in fits.items():
        slopes = (fit[quantity][over] for quantity in QUANTITIES for over in ("all", "last_two"))
        print_row(name, *("–" if slope is None else f"{slope:.2f}" for slope in slopes))


def _draw(content: dict, path: Path) -> None:
    """Draw time and memory against every size as a multiple of its smallest value, with a line of slope 1."""
    from matplotlib.ticker import LogLocator

    from tesp.report.figures.style import GREY, colour, marker, panels, save, tidy

    figure, grid = panels((9.0, 4.0), columns=2)
    memory = ("update_bytes", 2.0**20, "Memory of a meta-update, MB")
    if any(not point["update_bytes"] for point in content["results"]):
        memory = ("bytes_above_imports", 2.0**20, "Peak memory above imports, MB")
    titles = (("seconds", 1.0, "Seconds"), memory)
    for axes, (key, unit, title) in zip(grid[0], titles, strict=True):
        for index, name in enumerate(content["exponents"]):
            points = [point for point in content["results"] if point["size"] == name]
            x = [point["value"] / points[0]["value"] for point in points]
            y = [point[key] / unit for point in points]
            label = f"{_LABELS[name]}: {points[0]['value']} … {points[-1]['value']}"
            axes.loglog(x, y, color=colour(index), marker=marker(index), label=label)
        low = min(point[key] / unit for point in content["results"])
        axes.loglog([1, 8], [low, 8 * low], color=GREY, linestyle="--", label="slope 1")
        axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        tidy(axes, title, "multiple of the smallest size")
    grid[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"One meta-update of {content['family']}")
    save(figure, path)


if __name__ == "__main__":
    run(main, _work)
