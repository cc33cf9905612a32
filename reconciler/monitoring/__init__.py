"""How campaigns and sites are doing: health, metrics, notices, checks of sites."""
