"""A run as one page: reads records and files only, no JAX and no MuJoCo."""
