"""Bodies whose equations of motion are computed here instead of in the engine."""
