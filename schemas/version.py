"""The version of fsherald: read by the packaging, sent as `app_id` with every message."""

__version__ = "0.1.0"
