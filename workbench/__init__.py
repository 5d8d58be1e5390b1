"""The core of the workbench: cases, methods, the engine and sessions. No screen, and no torch on import."""

__version__ = "0.1.0"
