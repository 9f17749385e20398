"""What tests of pictures share."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tesp.report.figures import style
from tesp.tasks.family import Family
from tesp.tasks.point import PointFamily

FAMILY = PointFamily(horizon=8)


def blank(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, "PNG")


def leave_figures_blank(patch):
    """Until ``patch`` is undone, whatever is drawn becomes a tiny blank picture at the place it is meant for."""
    patch.setattr(style, "settle", lambda _: None)
    patch.setattr(Figure, "savefig", lambda _, path, **__: blank(path))


def shades_of_red(image):
    red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
    return (red > 110) & (red > 2 * green) & (red > 2 * blue)


@dataclass(frozen=True)
class Walker(Family):
    """A family of no library's: the point, whose infos hold a task and no goal."""

    name: str = "walker"
    observation_size: int = 2
    action_size: int = 2
    task_size: int = 2
    horizon: int = 4
    presets = property(lambda _: {})
    options = property(lambda _: {})

    def sample_task_sets(self, seed):
        return FAMILY.sample_task_sets(seed)

    def draw_task(self, generator):
        return FAMILY.draw_task(generator)

    def simulate(self, count, threads=0):
        return FAMILY.simulate(count, threads)
