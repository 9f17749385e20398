"""Families whose bodies MuJoCo simulates: a model, functions of its state, and what steps it."""
