"""The run catalogue: runs, files, luminosity, and which runs a campaign takes."""
