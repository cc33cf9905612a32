"""Whether published files are still what was published, and what was declared."""
