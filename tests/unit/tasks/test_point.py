import numpy as np

from tesp.tasks.point import PointFamily


def test_closed_form():
    """x_T = 0.1·Σ_t clip(a_t, −1, 1)."""
    actions = np.random.default_rng(0).normal(0, 1.5, (30, 4, 2))
    simulation = PointFamily().simulate(4)
    first = simulation.reset(np.full((4, 2), 50.0))
    np.testing.assert_array_equal(first, 0)
    for action in actions:
        done = simulation.step(np.arange(4), action)
    expected = 0.1 * np.clip(actions, -1, 1).sum(axis=0)
    np.testing.assert_allclose(done.position, expected, atol=1e-12)
    np.testing.assert_array_equal(done.observation, done.position)


def test_walks_to_the_goal_and_ends_there():
    simulation = PointFamily().simulate(1)
    goal = np.array([[0.63, -0.41]])
    simulation.reset(goal)
    ended = []
    for _ in range(7):
        done = simulation.step(np.arange(1), (goal - simulation.positions) / 0.1)
        ended.append(bool(done.terminated[0]))
    assert ended == [False] * 6 + [True]
    assert done.success[0]
    assert done.distance[0] < 0.02


def test_what_is_returned_is_not_the_state():
    simulation = PointFamily().simulate(1)
    simulation.reset(np.ones((1, 2)))[:] = 5.0
    done = simulation.step(np.arange(1), np.zeros((1, 2)))
    done.observation[:] = 9.0
    np.testing.assert_array_equal(done.position, 0)
    done.position[:] = 9.0
    simulation.positions[:] = 9.0
    np.testing.assert_array_equal(simulation.positions, 0)


def test_picture_has_x_to_the_right_and_y_upwards():
    simulation = PointFamily().simulate(1)
    simulation.reset(np.array([[1.0, 1.0]]))
    picture = simulation.render(0).astype(int)
    red = picture[..., 0] - picture[..., 2]
    row, column = np.unravel_index(red.argmax(), red.shape)
    assert abs(column - 360) < 12
    assert abs(row - 120) < 12
    blue = picture[..., 2] - picture[..., 0]
    row, column = np.unravel_index(blue.argmax(), blue.shape)
    assert abs(column - 240) < 12
    assert abs(row - 240) < 12
