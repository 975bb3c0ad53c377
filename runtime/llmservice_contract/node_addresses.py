"""Networks that no pod of a service connects to: NetworkPolicies deny them, and the runtime refuses them."""

NODE_ADDRESSES = (
    "169.254.0.0/16",  # link-local: metadata and credentials of AWS, Azure, Google Cloud and others
    "168.63.129.16/32",  # Azure's WireServer
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "192.0.0.192/32",  # metadata of Oracle Cloud Classic
    "fe80::/10",  # link-local
    "64:ff9b::a9fe:0/112",  # 169.254.0.0/16 through NAT64
    "fd00:ec2::/32",  # metadata and credentials of AWS
    "fd20:ce::/32",  # metadata of Google Cloud
)
"""Addresses that give a pod access to metadata and credentials of its node."""
