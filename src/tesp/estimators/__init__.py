"""Returns, advantages, baselines and losses: pure functions of one episode or one task."""
