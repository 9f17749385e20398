"""The families of the library as Gymnasium environments. Registering or listing them imports none of them."""

from typing import NamedTuple

import gymnasium


class Card(NamedTuple):
    """What is to be known of a family without importing it.

    Attributes:
        environment: Identifier of its Gymnasium environment.
        observation_size: Number of entries of an observation.
        action_size: Number of entries of an action.
        horizon: H in control steps, where nothing else is said.
    """

    environment: str
    observation_size: int
    action_size: int
    horizon: int


#: The families of the library by name.
CARDS = {
    "point": Card("tesp/Point-v0", 2, 2, 100),
    "wheeled": Card("tesp/Wheeled-v0", 9, 2, 200),
    "ant": Card("tesp/Ant-v0", 29, 8, 200),
    "reacher2": Card("tesp/Reacher2-v0", 8, 2, 200),
    "reacher4": Card("tesp/Reacher4-v0", 14, 4, 200),
    "half-cheetah-velocity-v1": Card("tesp/HalfCheetahVelocity-v1", 17, 6, 200),
    "half-cheetah-direction-v1": Card("tesp/HalfCheetahDirection-v1", 17, 6, 200),
    "ant-direction-v1": Card("tesp/AntDirection-v1", 27, 8, 200),
    "ant-goal-v1": Card("tesp/AntGoal-v1", 29, 8, 200),
    "humanoid-direction-v1": Card("tesp/HumanoidDirection-v1", 45, 17, 200),
    "walker-parameters-v1": Card("tesp/WalkerParameters-v1", 17, 6, 200),
    "hopper-parameters-v1": Card("tesp/HopperParameters-v1", 11, 3, 200),
}


def register_environments() -> None:
    """Register the families with Gymnasium, for instance ``tesp/Ant-v0``; calling it again does nothing.

    Keyword arguments of ``gymnasium.make`` are the family's options, but for the horizon: that is
    ``max_episode_steps``, after which episodes are truncated.
    """
    for family, card in CARDS.items():
        if card.environment not in gymnasium.registry:
            gymnasium.register(
                card.environment,
                entry_point="tesp.tasks.registration:NamedEnvironment",
                max_episode_steps=card.horizon,
                kwargs={"family": family},
            )
