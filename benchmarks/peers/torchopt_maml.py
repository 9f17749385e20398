"""MAML with TorchOpt: differentiable gradient steps of `MetaSGD`; sampling, baseline and objective are the user's."""

import numpy as np
import torch
import torchopt
from problems import HORIZON, PROBLEMS, evaluation_tasks
from timing import Watch, arguments

TASKS, EPISODES, EPOCHS, CLIP, DISCOUNT, FAST_RATE, META_RATE = 20, 20, 5, 0.2, 0.99, 0.1, 3e-3


class Policy(torch.nn.Module):
    """A Gaussian with two hidden layers of 64 and a deviation that no observation changes."""

    def __init__(self, observation_size, action_size):
        super().__init__()
        layers = [torch.nn.Linear(observation_size, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()]
        self.mean = torch.nn.Sequential(*layers, torch.nn.Linear(64, action_size))
        self.log_std = torch.nn.Parameter(torch.zeros(action_size))

    def forward(self, observation):
        """Return the distribution of the action."""
        return torch.distributions.Normal(self.mean(observation), self.log_std.exp(), validate_args=False)


def sample(policy, environments, task):
    """Play one episode in every environment; return observations, actions, rewards and which steps exist."""
    for environment in environments:
        environment.set_task(task)
    seen = np.array([environment.reset()[0] for environment in environments], np.float32)
    running, steps = np.ones(len(environments), bool), []
    for _ in range(HORIZON):
        with torch.no_grad():
            action = policy(torch.from_numpy(seen)).sample().numpy()
        following, reward = seen.copy(), np.zeros(len(environments), np.float32)
        valid = running.copy()
        for index in np.flatnonzero(running):
            following[index], reward[index], terminated, _, _ = environments[index].step(action[index])
            running[index] = not terminated
        steps.append((seen, action, reward, valid))
        seen = following
        if not running.any():
            break
    return [np.stack(part, axis=1) for part in zip(*steps, strict=True)]


def advantages(observation, reward, valid):
    """Return discounted returns less a linear baseline of the observation and the time, standardised."""
    returns, following = np.zeros_like(reward), 0.0
    for t in reversed(range(reward.shape[1])):
        returns[:, t] = following = reward[:, t] + DISCOUNT * following
    time = np.broadcast_to(np.arange(reward.shape[1], dtype=np.float32)[:, None] / 100, (*reward.shape, 1))
    inputs = np.concatenate([observation, observation**2, time, time**2, time**3, np.ones_like(time)], axis=2)[valid]
    weights = np.linalg.solve(inputs.T @ inputs + 1e-5 * np.eye(inputs.shape[1]), inputs.T @ returns[valid])
    left = returns[valid] - inputs @ weights
    return (left - left.mean()) / (left.std() + 1e-8)


def batch_of(policy, episodes):
    """Return the steps that exist as tensors, with their advantages and their log-probabilities under the policy."""
    observation, action, reward, valid = episodes
    kept = [observation[valid], action[valid], advantages(observation, reward, valid)]
    seen, action, advantage = (torch.as_tensor(part, dtype=torch.float32) for part in kept)
    with torch.no_grad():
        log_probability = policy(seen).log_prob(action).sum(-1)
    return seen, action, advantage, log_probability


def ratio_of(policy, batch):
    """Return π(a | s) by what it was when the batch was sampled."""
    seen, action, _, before = batch
    return (policy(seen).log_prob(action).sum(-1) - before).exp()


def adapt(policy, optimiser, batch):
    """Take one gradient step on a task, which the outer gradient goes through."""
    optimiser.step(-(ratio_of(policy, batch) * batch[2]).mean())


def tried(policy, environments, task):
    """Return what a task's first round, one adaptation and its second round gave, and the second one's mean return."""
    start, optimiser = torchopt.extract_state_dict(policy, by="reference"), torchopt.MetaSGD(policy, lr=FAST_RATE)
    first = sample(policy, environments, task)
    before = batch_of(policy, first)
    adapt(policy, optimiser, before)
    second = sample(policy, environments, task)
    after = batch_of(policy, second)
    torchopt.recover_state_dict(policy, start)
    return before, after, int(first[3].sum() + second[3].sum()), float(second[2].sum(axis=1).mean())


def learn(policy, meta_optimiser, trials):
    """Take the steps of one meta-update: the clipped objective of the adapted policies, through the adaptation."""
    for _ in range(EPOCHS):
        meta_optimiser.zero_grad()
        for before, after in trials:
            start = torchopt.extract_state_dict(policy, by="reference")
            adapt(policy, torchopt.MetaSGD(policy, lr=FAST_RATE), before)
            ratio, advantage = ratio_of(policy, after), after[2]
            gain = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).mean()
            (-gain / len(trials)).backward()
            torchopt.recover_state_dict(policy, start)
        meta_optimiser.step()


def main():
    """Train until the watch says that it is enough."""
    given = arguments(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    generator, make = np.random.default_rng(given.seed), PROBLEMS[given.problem]
    watch = Watch(given)
    environments = [make() for _ in range(EPISODES)]
    policy = Policy(environments[0].observation_space.shape[0], environments[0].action_space.shape[0])
    meta_optimiser, steps = torch.optim.Adam(policy.parameters(), META_RATE), 0
    while not watch.over:
        trials = []
        for task in environments[0].draw_tasks(generator, TASKS):
            before, after, taken, _ = tried(policy, environments, task)
            trials.append((before, after))
            steps += taken
        learn(policy, meta_optimiser, trials)
        watch.updated(steps)
        if watch.due:
            with watch.evaluation(steps) as found:
                tasks = evaluation_tasks(environments[0])
                found.append(float(np.mean([tried(policy, environments, task)[3] for task in tasks])))


if __name__ == "__main__":
    main()
