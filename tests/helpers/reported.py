"""Run folders with a real configuration and records that can be checked by hand, and pages read back as tables."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from helpers import stored
from helpers.running import tiny_config
from tesp.building import build_family
from tesp.config import as_dict
from tesp.report.films.writing import write_film
from tesp.storage.records import append_records
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS

#: Elements that have no end.
VOID = {"meta", "link", "img", "br"}


def evaluation(meta_update, task_set, k, average_return, **other):
    own = {"family": "point", "wall_seconds": 60.0 * meta_update, "episode_length": 6.0, "tasks": 5}
    return stored.evaluation(meta_update, k, average_return, task_set=task_set, **own | other)


def adaptation(k, identifier="first", goal=(0.9, 1.0)):
    measured = {"average_return": -20.0 + k, "success_rate": 0.25, "final_distance": 0.5, "environment_steps": 1234}
    return stored.adaptation(k, goal=goal, adaptation_id=identifier, family="point", **measured)


def task_details(index, **other):
    return stored.task(index, goal=(0.5, 0.1 * index), family="point", meta_update=4, **other)


def rate_details():
    return stored.rates(family="point", meta_update=4)


def make_run(folder: Path, shift=0.0, updates=(0, 2, 4), last=2, **overrides) -> Path:
    """Make a run whose return is −100 + meta-update + 10·k + shift, and that of standing still −150."""
    config = tiny_config(**overrides)
    run = RunFolder.create(
        folder, as_dict(config), build_family(config).sample_task_sets(0), family=config.family_reference
    )
    identity = {"family": config.family, "algorithm": config.algorithm, "seed": config.seed}
    records = [
        evaluation(0, name, 0, -150.0) | identity | {"kind": "reference", "reference": "stand_still"}
        for name in TASK_SETS
    ]
    for record in records:
        del record["fast_update"]
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
