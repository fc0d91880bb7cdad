"""Stand-in for a first-boot provisioner: names the LAN, fills a blank disk."""
