"""Run folders with a real configuration and records that can be checked by hand, and pages read back as tables."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from helpers.running import tiny_config
from tesp.config import build_family, to_json
from tesp.report.films.writing import write_film
from tesp.training.run_folder import RunFolder, append_records
from tesp.types import TASK_SETS

#: Elements that have no end.
VOID = {"meta", "link", "img", "br"}


def measured(average_return, tasks=5, **other):
    return {
        "average_return": average_return,
        "average_return_std": 4.0,
        "success_rate": 0.25,
        "final_distance": 0.5,
        "episode_length": 6.0,
        "unhealthy_rate": 0.0,
        "tasks": tasks,
        "episodes_per_task": 3,
    } | other


def evaluation(meta_update, task_set, k, average_return, **other):
    return {
        "kind": "evaluation",
        "family": "point",
        "algorithm": "tesp",
        "seed": 0,
        "meta_update": meta_update,
        "environment_steps": 1000 * meta_update,
        "wall_seconds": 60.0 * meta_update,
        "task_set": task_set,
        "fast_update": k,
    } | measured(average_return, **other)


def make_run(folder: Path, shift=0.0, updates=(0, 2, 4), last=2, **overrides) -> Path:
    """Make a run whose return is −100 + meta-update + 10·k + shift, and that of standing still −150."""
    config = tiny_config(**overrides)
    run = RunFolder.create(folder, to_json(config), build_family(config).sample_task_sets(0))
    identity = {"family": config.family, "algorithm": config.algorithm, "seed": config.seed}
    records = [
        {"kind": "reference", "reference": "stand_still", **identity, "task_set": name, **measured(-150.0)}
        for name in TASK_SETS
    ]
    for meta_update in updates:
        if meta_update:
            counted = {"environment_steps": 1000 * meta_update, "wall_seconds": 60.0 * meta_update}
            records.append({"kind": "train", **identity, "meta_update": meta_update, **counted})
        records += [
            evaluation(meta_update, name, k, -100.0 + meta_update + 10 * k + shift) | identity
            for name in TASK_SETS
            for k in range(last + 1)
        ]
    append_records(run.records, records)
    return folder


def adaptation(k, identifier="first", goal=(0.9, 1.0), **other):
    path = [[0.1, 0.2], [0.3, 0.4]]
    return {
        "kind": "adaptation",
        "adaptation_id": identifier,
        "family": "point",
        "goal": list(goal),
        "fast_update": k,
        **measured(-20.0 + k, tasks=1),
        "environment_steps": 1234,
        "start": [0.0, 0.0],
        "boundary_radius": 1.1,
        "episodes": [{"average_return": -20.0, "success": False, "position": path}],
    } | other


def task_details(index, **other):
    return {
        "kind": "task",
        "family": "point",
        "algorithm": "tesp",
        "seed": 0,
        "meta_update": 4,
        "task_set": "train",
        "boundary_radius": 1.1,
        "is_goal": True,
        "index": index,
        "task": [0.5, 0.1 * index],
        "average_return": [-30.0, -10.0 - index],
        "start": [0.0, 0.0],
        "path": [[0.1, 0.2], [0.3, 0.4]],
        "embedding": {"before": [0.0, 0.0], "after": [float(index), 1.0]},
    } | other


def rate_details():
    return {
        "kind": "rates",
        "family": "point",
        "algorithm": "tesp",
        "seed": 0,
        "meta_update": 4,
        "layer": "GRU bias",
        "learned": True,
        "entries": 12,
        "quantiles": {"0": -0.2, "5": -0.05, "25": -0.01, "50": 0.002, "75": 0.01, "95": 0.06, "100": 0.3},
        "negative": 0.25,
        "at_bound": 0.0,
        "bound": 0.4,
        "initial_rate": 0.001,
    }


def draw(path: Path, size=(6.0, 2.0)) -> Path:
    """Write a small picture in the format of its ending."""
    path.parent.mkdir(exist_ok=True)
    figure = Figure(figsize=size)
    figure.subplots().plot([0, 1], [0, 1])
    figure.savefig(path, dpi=40)
    return path


def film(path: Path) -> Path:
    """Write ten frames of a square that moves, as H.264 in the colours that every browser plays."""
    path.parent.mkdir(exist_ok=True)
    frames = np.full((10, 64, 128, 3), 240, np.uint8)
    for step, frame in enumerate(frames):
        frame[20:40, 10 * step : 10 * step + 20] = (0, 114, 178)
    write_film(path, iter(frames), 10.0)
    return path


class Page(HTMLParser):
    """A page read back: ``text``, ``tables`` (rows of cells), ``elements`` (tag and attributes); tags must match."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.tables, self.elements = "", [], []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if {"th", "td"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def captions(self) -> list[str]:
        """Return what the pictures show."""
        return [attributes["alt"] for name, attributes in self.elements if name == "img"]

    def sources(self, tag: str) -> list[str]:
        return [attributes["src"] for name, attributes in self.elements if name == tag]
