"""From where an engine may fetch the media that a request names by URL.

vLLM fetches from every host if its list of domains is empty, so an engine without any domain gets one that no URL has.
"""

from __future__ import annotations

DOMAIN = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""A DNS name in lower case with a dot. Its last label begins with a letter: no spelling of an IPv4 address matches."""
DOMAIN_IN_WORDS = "a DNS name in lower case with at least one dot, its last label beginning with a letter"
SHORTEST_DOMAIN, LONGEST_DOMAIN = 3, 253
MOST_DOMAINS = 32
NO_DOMAIN = "none.invalid"
"""RFC 6761 reserves .invalid: it never resolves."""
