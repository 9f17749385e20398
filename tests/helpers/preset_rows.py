"""Every preset of every family as parameters of tests."""

import pytest

from tesp.presets import presets_of
from tesp.tasks.registry import families

#: Classic tasks whose presets are those of another one, which stands for them unless there is time.
ALIKE = (
    "half-cheetah-direction-v1",
    "walker-parameters-v1",
    "hopper-parameters-v1",
    "ant-direction-v1",
    "ant-goal-v1",
    "humanoid-direction-v1",
)

ROWS = [
    pytest.param(family, preset, marks=pytest.mark.long if family in ALIKE else ())
    for family in families()
    for preset in presets_of(family)
]
