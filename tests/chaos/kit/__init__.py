"""What the chaos tests are made of: load, faults, the subscriber, and the judge of what it was told."""
