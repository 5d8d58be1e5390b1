"""Names and the weights they stand for."""

DEFAULT_MODEL = "smollm2-135m"
"""Here, as the command line names it before it has the catalogue."""
