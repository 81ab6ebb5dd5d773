"""The user's own trainer as a game: `game`; `own_code` finds and imports their code, `calls` calls it on a node."""
