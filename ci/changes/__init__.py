"""What git has: commits, changes, the project, exports; and what a change may do."""
