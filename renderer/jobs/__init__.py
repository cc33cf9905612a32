"""What a job is given and what it leaves: job JSONs, production requests of the grid, and logs."""
