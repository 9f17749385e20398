"""The commands that train a run again, and its oracle, as the command line reads them."""

import shlex
from pathlib import Path

import pytest

from helpers.running import as_json, tesp, tiny_config
from tesp.commands.reproducing import reproducing_command
from tesp.commands.showing import _oracle_command
from tesp.config import preset_config


def parsed(command, monkeypatch):
    """Return the configuration that a command would train."""

    class ParsedError(Exception):
        pass

    def train(config, _folder, _console, **_):
        raise ParsedError(config)

    monkeypatch.setattr("tesp.runs.train", train)
    program, *words = shlex.split(command)
    assert program == "tesp"
    with pytest.raises(ParsedError) as error:
        tesp(*words)
    return error.value.args[0]


CONFIGS = (
    preset_config("point", "quick"),
    preset_config("ant", "paper", seed=7, when_unhealthy="continue"),
    preset_config("point", "quick", "tesp-v2", fast_updates=1),
    preset_config("reacher2", "quick", "maml", engine="closed-form", extra_episodes=True),
    tiny_config(learning_rate=3e-7, second_order=True, fast_update=False, learning_rate_schedule="linear"),
    tiny_config(policy_units=(3, 4, 5), spacing=0.05, wandb_project="-a b'c$"),
    tiny_config(horizon=None),
)


@pytest.mark.parametrize("config", CONFIGS)
def test_parsing_the_command_gives_the_same_configuration(config, monkeypatch):
    assert parsed(reproducing_command(config), monkeypatch) == config


def test_only_what_differs_is_said():
    assert reproducing_command(CONFIGS[0]) == "tesp train point --preset quick --seed 0"
    assert "--when-unhealthy continue" in reproducing_command(CONFIGS[1])


# The second has the name of a family of the registry, which has other presets.
@pytest.mark.parametrize("name", ["own", "wheeled"])
def test_a_family_from_a_file(own_families, monkeypatch, name):
    config = preset_config(f"{own_families}:{name}", "quick")
    command = f"tesp train '{own_families}:{name}' --preset quick --seed 0"
    assert reproducing_command(config) == command
    assert parsed(command, monkeypatch) == config
    config = tiny_config(f"{own_families}:{name}", horizon=None, seed=3)
    command = reproducing_command(config)
    assert "--family" not in command
    assert parsed(command, monkeypatch) == config


def test_the_oracle_of_a_family_from_a_file(own_families, monkeypatch):
    config = tiny_config(f"{own_families}:wheeled", policy_units=(8, 8))
    oracle = parsed(_oracle_command(Path("runs/mine"), as_json(config)), monkeypatch)
    assert (oracle.family_reference, oracle.algorithm) == (config.family_reference, "oracle")
    assert (oracle.task, oracle.method.network.policy_units) == (config.task, (8, 8))
