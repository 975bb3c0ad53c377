"""The operator's settings, set by the platform team as environment variables. ``settings.from_environment`` reads
them."""
