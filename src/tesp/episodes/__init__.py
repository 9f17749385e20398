"""Collecting episodes and keeping the best of them."""
