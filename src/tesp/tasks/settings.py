"""Options of families."""

from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings


@dataclass(frozen=True)
class FamilySettings(Settings):
    """Options of the family of tasks. Left out (None), the family's own default holds."""

    horizon: int | None = None
    """H, control steps after which an episode is cut off."""
    tasks_per_set: int | None = None
    """Number of tasks in each of D, D′ and D″."""
    inner_radius: float | None = None
    """Goals lie further than this from the origin, metres."""
    boundary_radius: float | None = None
    """Goals of D and D′ lie within this distance of the origin and those of D″ beyond, metres."""
    outer_radius: float | None = None
    """Goals of D″ lie within this distance of the origin, metres."""
    spacing: float | None = None
    """Least distance between goals, metres."""
    engine: Literal["mujoco", "closed-form"] | None = None
    """What steps a reacher: MuJoCo, or the arm's equations of motion written out, which is many times faster."""
    when_unhealthy: Literal["terminate", "continue"] | None = None
    """What happens to an ant that falls: `terminate` ends its episode (as the paper's authors), `continue` does not."""
