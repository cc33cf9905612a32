"""The text that reviewers of a change get, and the forges that show it."""
