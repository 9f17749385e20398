"""Goals in the plane: where they lie, how they are drawn, and what a step towards one is worth."""
