"""Which parameters adapt, with which rates, and what the policy is conditioned on."""
