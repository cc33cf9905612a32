"""Lists of runs and files in the formats that the field exchanges."""
