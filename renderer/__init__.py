"""What will run: units, fingerprints, steering scripts, job JSONs, and the runtime that worker nodes execute."""
