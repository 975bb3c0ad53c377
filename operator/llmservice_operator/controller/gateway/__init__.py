"""The gateway's process: it watches services and replicas, and gives NGINX their routes."""
