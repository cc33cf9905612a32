"""Skims with the application `uproot`: reads a job, selects its events, and writes its outputs."""
