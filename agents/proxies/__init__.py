"""Proxies: models fitted to samples, which say of a design what it may cost without asking the cost model."""
