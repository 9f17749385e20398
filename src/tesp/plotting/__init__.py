"""Figures from records; reads files only, no JAX."""
