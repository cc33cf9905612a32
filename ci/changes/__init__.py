"""The repository of a command: commits, changes and their checks, drafts, exports of the state."""
