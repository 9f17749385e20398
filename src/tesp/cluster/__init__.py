"""Work on more than one machine, by Ray. Whatever is here stands above runs: they know nothing of it."""
