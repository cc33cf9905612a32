"""The verbs of the command line, one module for each part of a campaign's way."""
