"""The one SQLite file: opened, inspected, saved when it is damaged; monitors, requests, unpublished blocks, ledgers."""
