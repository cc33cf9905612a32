"""The repository that a command works on: commits, changes and what they may do, drafts, exports of the state."""
