"""The gateway: what its NGINX is configured with, and the routes that Lua reads. Pure."""
