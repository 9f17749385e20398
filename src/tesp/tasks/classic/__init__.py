"""The classic tasks of meta-reinforcement learning: Gymnasium's bodies with the field's rewards and tasks."""
