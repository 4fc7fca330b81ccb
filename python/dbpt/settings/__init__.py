"""What a run is told: every setting, its checks, recipes, and which combinations exist."""
