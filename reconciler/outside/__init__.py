"""All contact with the outside: commands, HTTP, clocks, signals, files; and the errors that end a command."""
