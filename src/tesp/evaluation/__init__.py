"""How a meta-learner is judged."""
