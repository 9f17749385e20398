"""Methods that adapt by gradient steps: what adapts, at which rates, and what the policy is conditioned on."""
