"""The command line: where output goes, and the exit codes."""
