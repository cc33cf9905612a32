"""The input of jobs (job JSONs, production requests of the grid) and their logs."""
