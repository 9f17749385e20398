"""One folder a figure of the paper."""
