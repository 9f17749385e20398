import numpy as np
import pytest

from tesp.errors import ConfigurationError
from tesp.tasks.checks import checked_count, checked_length


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "many", None])
def test_counts(value):
    with pytest.raises(ConfigurationError, match=r"horizon is .*; it must be an integer of at least 1"):
        checked_count("horizon", value)
    assert checked_count("horizon", np.int64(3)) == 3


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), False, "wide", None])
def test_lengths(value):
    with pytest.raises(ConfigurationError, match=r"spacing is .*; it must be a finite length"):
        checked_length("spacing", value)
    assert checked_length("spacing", 0) == 0.0
