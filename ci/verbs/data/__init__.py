"""Verbs for runs, files, luminosity, global tags, and what was published."""
