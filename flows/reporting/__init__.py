"""The HTML report of a campaign and its Prefect artifacts."""
