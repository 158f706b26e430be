"""The contest: every method on the same requests, with its price and all audits."""
