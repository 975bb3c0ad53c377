"""All I/O: watching, the work queue, reading and writing the cluster, leadership."""
