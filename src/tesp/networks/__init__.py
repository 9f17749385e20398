"""The task encoder and the policy."""
