"""What the lenses on one fixed model need beside their games: models to look at, and decisions that are tried."""
