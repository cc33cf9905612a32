"""The values that a plan is made of and executed by, and the port of the engines."""
