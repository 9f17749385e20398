"""Families of a user's own Gymnasium environments, and pools of environments."""
