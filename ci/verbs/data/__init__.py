"""Verbs for runs, files, luminosity, global tags, and published data."""
