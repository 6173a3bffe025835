"""The crash campaign: at every I/O call of a whole rotation something goes wrong, and the rotation converges."""
