"""What the platform team sets for the operator, by environment variables. ``settings.from_environment`` reads them."""
