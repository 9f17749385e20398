"""Families of tasks: their bodies, goals and rewards."""
