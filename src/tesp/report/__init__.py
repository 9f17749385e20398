"""Runs as people look at them: tables, figures, the page, films. All of it reads what a run has written."""
