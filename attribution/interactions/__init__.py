"""How interactions are found and estimated: candidates, selection, refit, one-step estimates."""
