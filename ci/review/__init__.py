"""What reviewers see of a change, and the forges where they see it."""
