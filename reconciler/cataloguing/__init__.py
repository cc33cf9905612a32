"""Making outputs known to a catalogue that others read, and reading them back from it."""
