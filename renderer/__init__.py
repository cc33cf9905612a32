"""Prepares jobs: units, fingerprints, steering scripts, job JSONs, and the runtime that runs on worker nodes."""
