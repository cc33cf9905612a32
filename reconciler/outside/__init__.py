"""The only way out: commands, HTTP, clock, signals, files; and the errors that end a command."""
