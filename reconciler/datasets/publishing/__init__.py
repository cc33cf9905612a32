"""Publishing: editions of datasets are given to readers in Rucio, as lists or as folders, and taken back with the reason."""
