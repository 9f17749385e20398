"""A run as one page: reads records and files only, no JAX and no MuJoCo."""

from tesp.report.page.page import Source, render

__all__ = ["Source", "render"]
