"""The run catalogue: which runs and files exist, where that is known from, and which of them a campaign takes."""
