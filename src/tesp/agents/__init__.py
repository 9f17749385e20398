"""Trained meta-learners and agents adapted with them, as their users have them."""
