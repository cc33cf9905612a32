"""Identifies data: units, fingerprints, and the payloads of each run."""
