"""Which operations on datasets are due, which are held back, and why."""
