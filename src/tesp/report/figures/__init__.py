"""Figures from records; no JAX and no MuJoCo."""
