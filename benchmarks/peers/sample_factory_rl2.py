"""RL² with Sample Factory: APPO with a GRU on trials of two episodes, whose observation holds what happened before."""

import tempfile
from functools import partial

import numpy as np
import torch
from problems import HORIZON, PROBLEMS, Trial, evaluation_tasks
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.algo.utils.rl_utils import prepare_and_normalize_obs
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.model_utils import get_rnn_size
from sample_factory.train import make_runner
from timing import Watch, arguments

TRIALS, EPISODES, MINIBATCHES = 40, 2, 4

OPTIONS = {
    "serial_mode": True,
    "async_rl": False,
    "device": "cpu",
    "num_workers": 1,
    "num_envs_per_worker": TRIALS,
    "worker_num_splits": 1,
    "rollout": EPISODES * HORIZON,
    "recurrence": EPISODES * HORIZON,
    "batch_size": TRIALS * EPISODES * HORIZON // MINIBATCHES,
    "num_batches_per_epoch": MINIBATCHES,
    "num_epochs": 8,
    "use_rnn": True,
    "rnn_size": 64,
    "nonlinearity": "tanh",
    "policy_initialization": "torch_default",
    "adaptive_stddev": False,
    "learning_rate": 1e-3,
    "max_grad_norm": 1.0,
    "gamma": 0.97,
    "gae_lambda": 0.9,
    "ppo_clip_ratio": 0.2,
    "exploration_loss_coeff": 0.001,
    "with_vtrace": False,
    "normalize_input": True,
    "normalize_returns": True,
    "decorrelate_experience_max_seconds": 0,
    "train_for_env_steps": 10**9,
    "save_every_sec": 10**6,
    "experiment_summaries_interval": 10**6,
}


def made_trial(make, seed, _name, _configuration, place, *_render_mode):
    """Make one of the environments that are sampled from, with tasks of its own."""
    return Trial(make(), EPISODES, seed=[seed, 0 if place is None else place.env_id])


def last_returns(actor_critic, configuration, make):
    """Return the mean return of the last episode of one trial of each evaluation task, with actions drawn."""
    trials = [Trial(make(), EPISODES, [task]) for task in evaluation_tasks(make())]
    seen = np.stack([trial.reset()[0] for trial in trials])
    state, returns = torch.zeros(len(trials), get_rnn_size(configuration)), [None] * len(trials)
    while None in returns:
        with torch.no_grad():
            normalised = prepare_and_normalize_obs(actor_critic, {"obs": torch.from_numpy(seen.copy())})
            out = actor_critic(normalised, state)
        state, actions = out["new_rnn_states"], out["actions"].numpy()
        for index, trial in enumerate(trials):
            if returns[index] is None:
                seen[index], _, _, _, info = trial.step(actions[index])
                returns[index] = info["episode_returns"][-1] if info else None
    return float(np.mean(returns))


class Measure(AlgoObserver):
    """Told after every training step: tells the watch, and evaluates."""

    def __init__(self, watch, make):
        self._watch, self._make = watch, make

    def on_training_step(self, runner, training_iteration_since_resume):
        """Measure."""
        steps = runner.learners[0].learner.env_steps
        self._watch.updated(steps)
        if self._watch.due:
            actor_critic = runner.learners[0].learner.actor_critic
            actor_critic.eval()
            with self._watch.evaluation(steps) as found:
                found.append(last_returns(actor_critic, runner.cfg, self._make))
            actor_critic.train()
        if self._watch.over:
            runner.cfg.train_for_env_steps = 0


def main():
    """Train until the watch says that it is enough."""
    given = arguments(__doc__)
    torch.set_num_threads(1)
    make, watch = PROBLEMS[given.problem], Watch(given)
    register_env("trials", partial(made_trial, make, given.seed))
    with tempfile.TemporaryDirectory() as folder:
        told = {**OPTIONS, "env": "trials", "experiment": "run", "train_dir": folder, "seed": given.seed}
        words = [f"--{name}={value}" for name, value in told.items()] + ["--encoder_mlp_layers", "64"]
        _, runner = make_runner(parse_full_cfg(parse_sf_args(words)[0], words))
        runner.register_observer(Measure(watch, make))
        runner.init()
        runner.run()


if __name__ == "__main__":
    main()
